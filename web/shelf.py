"""Pictures between upload and answer: in memory, for a while, within a budget; on disk no longer than it takes to read them."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from hunyuanocr.errors import BadRequest, EmptyInput


@dataclass(frozen=True)
class Sheet:
    """A page as the browser shows it: a small JPEG, and the size in pixels of the original that boxes refer to."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """An upload: its bytes, the pages to show, and when it came (seconds of the monotonic clock)."""

    data: bytes
    sheets: tuple[Sheet, ...]
    pages: int
    since: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        """Bytes of memory that it holds."""
        return len(self.data) + sum(len(s.jpeg) for s in self.sheets)


class Shelf:
    """Holds pictures under secret tokens. The oldest go when `max_bytes` are exceeded, and each after `max_age_s` seconds."""

    def __init__(self, max_bytes: int, max_age_s: float) -> None:
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._held: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()  # a session's end comes from another thread

    def put(self, picture: Picture) -> str:
        """Keep a picture; the token that gets it back."""
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._held[token] = picture
            while len(self._held) > 1 and sum(p.size for p in self._held.values()) > self.max_bytes:
                self._held.popitem(last=False)
        return token

    def get(self, token: str | None) -> Picture | None:
        """The picture, or None when it is gone."""
        self.expire()
        with self._lock:
            return self._held.get(token or "")

    def drop(self, token: str | None) -> None:
        """Forget a picture; an unknown token is no error."""
        with self._lock:
            self._held.pop(token or "", None)

    def expire(self) -> None:
        """Forget what is too old."""
        oldest = time.monotonic() - self.max_age_s
        with self._lock:
            for token in [t for t, p in self._held.items() if p.since < oldest]:
                del self._held[token]

    def __len__(self) -> int:
        with self._lock:
            return len(self._held)


def take(path: str, folder: Path) -> bytes:
    """Read an upload and delete it at once. The path comes from the browser: one outside `folder` raises BadRequest."""
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or file == folder.resolve():
        raise BadRequest("The upload is not where uploads are.")
    try:
        data = file.read_bytes()
    except OSError as e:
        raise EmptyInput("The upload is gone.", hint="Choose the file again.") from e
    file.unlink(missing_ok=True)
    if file.parent != folder.resolve():  # each upload has a folder of its own
        shutil.rmtree(file.parent, ignore_errors=True)
    return data


def sweep(folder: Path, max_age_s: float) -> None:
    """Delete what uploads left behind that never reached `take`: broken off, or sent by something that is no browser."""
    oldest = time.time() - max_age_s
    for entry in folder.iterdir():
        try:
            if entry.stat().st_mtime >= oldest:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except FileNotFoundError:
            continue  # its request was faster
