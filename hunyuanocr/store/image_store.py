"""Stored images: files in the data folder, named by their SHA-256, so that identical images are stored once."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hunyuanocr.files import write_atomic

_NAME = re.compile(r"[0-9a-f]{64}")


class ImageStore:
    """A folder of images. Blocking.

    Call `keep` and `drop` inside a transaction with `store.records.lock_pictures`, so that no image of a record in progress is
    deleted.
    """

    min_age_s = 3600.0  # younger files without a record may belong to a transaction in progress

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def name_of(data: bytes) -> str:
        """Return the file name of these bytes."""
        return hashlib.sha256(data).hexdigest()

    def path(self, name: str) -> Path:
        """Return the path of an image. Raises ValueError for an invalid name."""
        if not _NAME.fullmatch(name):
            raise ValueError("not the name of an image")
        return self.folder / name[:2] / name

    def keep(self, data: bytes) -> str:
        """Write an image atomically and return its name. Raises OSError, for example if the disk is full."""
        name = self.name_of(data)
        path = self.path(name)
        if path.exists():
            return name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, data, suffix=f".{os.getpid()}.part")
        return name

    def drop(self, names: Iterable[str]) -> None:
        """Delete images; missing ones are ignored."""
        for name in names:
            self.path(name).unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Delete unfinished files of processes that no longer run; best effort, at server start."""
        for path in self.folder.glob("??/*.part"):
            pid = path.name.split(".")[-2]
            if not (pid.isdigit() and Path(f"/proc/{pid}").exists()) or int(pid) == os.getpid():
                with suppress(OSError):
                    path.unlink()

    def old(self, now: datetime) -> Iterator[str]:
        """Yield the names of images older than an hour; delete remains of crashes.

        `now` must not be in the future: a clock that has jumped makes nothing old.
        """
        limit = min(time.time(), now.timestamp()) - self.min_age_s
        for path in self.folder.glob("??/*"):
            if path.stat().st_mtime > limit:
                continue
            if _NAME.fullmatch(path.name):
                yield path.name
            elif path.suffix == ".part":
                path.unlink(missing_ok=True)
