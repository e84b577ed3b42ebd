"""Pictures between upload and answer: in memory alone, for a while, and within bounds, in all and of each person."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from api.network.limits import ByteBudget
from hunyuanocr.errors import EmptyInput, UploadBudgetExceeded
from hunyuanocr.types import Result

_BESIDE = 1024  # bytes that an upload is counted for besides its own, so that a million empty ones are something too
_AGAIN_S = 5.0
_OBJECTS = 5  # bytes of memory for a character of what Python prints of a result


@dataclass(frozen=True)
class PreviewPage:
    """A page as the browser shows it: a small JPEG, and the size in pixels of the original that boxes refer to."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class OpenedUpload:
    """An upload: its bytes, the pages to show, when it came (seconds of the monotonic clock), and what was last read of it."""

    data: bytes
    sheets: tuple[PreviewPage, ...]
    pages: int
    since: float = field(default_factory=time.monotonic)
    result: Result | None = None
    result_bytes: int = 0

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        return len(self.data) + sum(len(s.jpeg) for s in self.sheets) + self.result_bytes

    def with_result(self, result: Result | None) -> OpenedUpload:
        """As if it had come now, with what was read of it."""
        size = 0 if result is None else _OBJECTS * len(repr(result))
        return replace(self, since=time.monotonic(), result=result, result_bytes=size)


@dataclass(frozen=True)
class _Upload:
    data: bytes
    who: str
    since: float


class PendingUploads:
    """Uploads on their way to an open page: for `max_age_s` seconds, and for nobody but who sent them.

    Half of `max_bytes` is for one person. What has no place is refused: others are not pushed out.
    """

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self._budget = ByteBudget(max_bytes)
        self._age_s = max_age_s
        self._held: dict[str, _Upload] = {}

    def put(self, data: bytes, who: str) -> str:
        """Keep an upload; the token that gets it. Raises UploadsFull."""
        self.expire()
        if not self._budget.acquire(who, len(data) + _BESIDE):
            hint = "Wait a moment and choose it again, fewer at a time."
            raise UploadBudgetExceeded("Too many pictures wait to be shown.", retry_after=_AGAIN_S, hint=hint)
        token = secrets.token_urlsafe(16)
        self._held[token] = _Upload(data, who, time.monotonic())
        return token

    def take(self, token: str, who: str) -> bytes:
        """The upload, which is not kept any longer. Raises EmptyInput where it is gone, or another's."""
        self.expire()
        found = self._held.get(token)
        if found is None or found.who != who:
            raise EmptyInput("The upload is gone.", hint="Choose the file again.")
        self._forget(token)
        return found.data

    def expire(self) -> None:
        """Forget what nobody has asked for."""
        oldest = time.monotonic() - self._age_s
        for token in [token for token, upload in self._held.items() if upload.since < oldest]:
            self._forget(token)

    def _forget(self, token: str) -> None:
        upload = self._held.pop(token)
        self._budget.release(upload.who, len(upload.data) + _BESIDE)

    def __len__(self) -> int:
        return len(self._held)


class PictureCache:
    """Holds pictures under secret tokens, each for `max_age_s` seconds at most. When `max_bytes` are exceeded, the oldest of
    whoever holds most goes: many pictures of one person push out no others'.
    """

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._held: dict[str, tuple[OpenedUpload, str]] = {}  # in the order in which they came
        self._lock = threading.Lock()  # a session's end comes from another thread

    def put(self, picture: OpenedUpload, who: str, token: str | None = None) -> str:
        """Keep a picture, as the newest; the token that gets it back. `token` replaces what it stood for."""
        token = token or secrets.token_urlsafe(16)
        with self._lock:
            self._held.pop(token, None)
            self._held[token] = picture, who
            self._make_room(token)
        return token

    def _make_room(self, newest: str) -> None:
        while len(self._held) > 1:
            sizes: Counter[str] = Counter()
            for picture, who in self._held.values():
                sizes[who] += picture.size
            if sizes.total() <= self.max_bytes:
                return
            older = [(token, who) for token, (_, who) in self._held.items() if token != newest]
            greatest = max((who for _, who in older), key=sizes.__getitem__)
            del self._held[next(token for token, who in older if who == greatest)]

    def get(self, token: str | None, who: str | None = None) -> OpenedUpload | None:
        """The picture, or None when it is gone, or not of the identity that `who` is the fingerprint of."""
        self.expire()
        with self._lock:
            picture, owner = self._held.get(token or "", (None, ""))
        return picture if who in (None, owner) else None

    def drop(self, token: str | None) -> None:
        """Forget a picture; an unknown token is no error."""
        with self._lock:
            self._held.pop(token or "", None)

    def expire(self) -> None:
        """Forget what is too old."""
        oldest = time.monotonic() - self.max_age_s
        with self._lock:
            for token in [t for t, (p, _) in self._held.items() if p.since < oldest]:
                del self._held[token]

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)
