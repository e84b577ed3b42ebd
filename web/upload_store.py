"""Uploads and opened images of the page, in memory, with limits of size and age for all and for each identity."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from api.network.limits import ByteBudget
from hunyuanocr.errors import EmptyInput, UploadBudgetExceeded
from hunyuanocr.types import Result

_OVERHEAD_BYTES = 1024  # counted for each upload in addition to its size, so that many empty uploads are limited too
_RETRY_AFTER_S = 5.0
_BYTES_PER_REPR_CHAR = 5  # memory of a result, estimated from the length of its repr


@dataclass(frozen=True)
class PreviewPage:
    """A page for the browser: a small JPEG, and the size in pixels of the original, which boxes refer to."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class OpenedUpload:
    """An opened upload: its bytes, the previews, the time of the last use (monotonic clock, seconds), and the last result."""

    data: bytes
    sheets: tuple[PreviewPage, ...]
    pages: int
    since: float = field(default_factory=time.monotonic)
    result: Result | None = None
    result_bytes: int = 0

    @property
    def size(self) -> int:
        """Return the memory use in bytes."""
        return len(self.data) + sum(len(s.jpeg) for s in self.sheets) + self.result_bytes

    def with_result(self, result: Result | None) -> OpenedUpload:
        """Return a copy with this result and the current time."""
        size = 0 if result is None else _BYTES_PER_REPR_CHAR * len(repr(result))
        return replace(self, since=time.monotonic(), result=result, result_bytes=size)


@dataclass(frozen=True)
class _Upload:
    data: bytes
    fingerprint: str
    since: float


class PendingUploads:
    """Uploads that the page has not opened yet, for at most `max_age_s` seconds; only the sender can open them.

    One identity may use half of `max_bytes`. Uploads beyond the limits are refused; they do not evict others.
    """

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self._budget = ByteBudget(max_bytes)
        self._age_s = max_age_s
        self._uploads: dict[str, _Upload] = {}

    def put(self, data: bytes, fingerprint: str) -> str:
        """Store an upload of the identity. Return its token. Raise UploadBudgetExceeded."""
        self.expire()
        if not self._budget.acquire(fingerprint, len(data) + _OVERHEAD_BYTES):
            hint = "Wait a moment, then choose fewer files at a time."
            raise UploadBudgetExceeded("Too many uploads are waiting.", retry_after=_RETRY_AFTER_S, hint=hint)
        token = secrets.token_urlsafe(16)
        self._uploads[token] = _Upload(data, fingerprint, time.monotonic())
        return token

    def take(self, token: str, fingerprint: str) -> bytes:
        """Remove and return an upload. Raise EmptyInput if it has expired or belongs to another identity."""
        self.expire()
        upload = self._uploads.get(token)
        if upload is None or upload.fingerprint != fingerprint:
            raise EmptyInput("The upload has expired.", hint="Choose the file again.")
        self._remove(token)
        return upload.data

    def expire(self) -> None:
        """Remove expired uploads."""
        oldest = time.monotonic() - self._age_s
        for token in [token for token, upload in self._uploads.items() if upload.since < oldest]:
            self._remove(token)

    def _remove(self, token: str) -> None:
        upload = self._uploads.pop(token)
        self._budget.release(upload.fingerprint, len(upload.data) + _OVERHEAD_BYTES)

    def __len__(self) -> int:
        return len(self._uploads)


class PictureCache:
    """Opened images by secret token, each for at most `max_age_s` seconds.

    If `max_bytes` is exceeded, the oldest image of the identity that uses most memory is evicted, so that many images of one
    identity do not evict those of others.
    """

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._pictures: dict[str, tuple[OpenedUpload, str]] = {}  # token → image, fingerprint; oldest first
        self._lock = threading.Lock()  # Gradio deletes sessions in another thread

    def put(self, picture: OpenedUpload, fingerprint: str, token: str | None = None) -> str:
        """Store an image as the newest and return its token. An existing `token` is overwritten."""
        token = token or secrets.token_urlsafe(16)
        with self._lock:
            self._pictures.pop(token, None)
            self._pictures[token] = picture, fingerprint
            self._evict(token)
        return token

    def _evict(self, newest: str) -> None:
        while len(self._pictures) > 1:
            sizes: Counter[str] = Counter()
            for picture, fingerprint in self._pictures.values():
                sizes[fingerprint] += picture.size
            if sizes.total() <= self.max_bytes:
                return
            older = [(token, fingerprint) for token, (_, fingerprint) in self._pictures.items() if token != newest]
            largest = max((fingerprint for _, fingerprint in older), key=sizes.__getitem__)
            del self._pictures[next(token for token, fingerprint in older if fingerprint == largest)]

    def get(self, token: str | None, fingerprint: str | None = None) -> OpenedUpload | None:
        """Return the image, or None if it has expired or does not belong to the identity with this fingerprint."""
        self.expire()
        with self._lock:
            picture, owner = self._pictures.get(token or "", (None, ""))
        return picture if fingerprint in (None, owner) else None

    def drop(self, token: str | None) -> None:
        """Remove an image; unknown tokens are ignored."""
        with self._lock:
            self._pictures.pop(token or "", None)

    def expire(self) -> None:
        """Remove expired images."""
        oldest = time.monotonic() - self.max_age_s
        with self._lock:
            for token in [t for t, (p, _) in self._pictures.items() if p.since < oldest]:
                del self._pictures[token]

    def __len__(self) -> int:
        with self._lock:
            return len(self._pictures)
