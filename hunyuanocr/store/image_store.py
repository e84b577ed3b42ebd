"""Kept pictures: files under the data folder, named by their SHA-256, so that one that came twice is there once."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}")
_LOCK_TIMEOUT_S = 3600.0  # a file that no record names may belong to a transaction that is not at its end


class ImageStore:
    """A folder of pictures. Blocking; `keep` and `drop` belong inside a transaction that `store.records.lock_pictures` guards,
    so that no file is dropped that a record in the making names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def name_of(data: bytes) -> str:
        """The name that these bytes have here."""
        return hashlib.sha256(data).hexdigest()

    def path(self, name: str) -> Path:
        """Where a picture lies; raises ValueError for a name that is none."""
        if not _NAME.fullmatch(name):
            raise ValueError("not the name of a picture")
        return self.folder / name[:2] / name

    def keep(self, data: bytes) -> str:
        """Write a picture, whole or not at all, and return its name. Raises OSError, of a full disk for example."""
        name = self.name_of(data)
        path = self.path(name)
        if path.exists():
            return name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{name}.{os.getpid()}.part")
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the name survives a power cut as well
        finally:
            os.close(folder)
        return name

    def drop(self, names: Iterable[str]) -> None:
        """Delete pictures; those that are gone already do not matter."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Delete what processes that are gone were writing; best effort, at the start of the server."""
        for path in self.folder.glob("??/*.part"):
            pid = path.name.split(".")[-2]
            if not (pid.isdigit() and Path(f"/proc/{pid}").exists()) or int(pid) == os.getpid():
                with suppress(OSError):
                    path.unlink()

    def old(self, now: datetime) -> Iterator[str]:
        """Names of the pictures that are older than an hour; leftovers of crashes are deleted on the way. `now` is a moment that
        has certainly come: a clock that jumped makes nothing old.
        """
        limit = min(time.time(), now.timestamp()) - _LOCK_TIMEOUT_S
        for path in self.folder.glob("??/*"):
            if path.stat().st_mtime > limit:
                continue
            if _NAME.fullmatch(path.name):
                yield path.name
            elif path.suffix == ".part":
                path.unlink(missing_ok=True)
