"""Find new and complete files by scanning a folder repeatedly: notifications are unreliable on network shares."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_EMPTY_S = 60.0  # an empty file is probably still being written; it is accepted after a minute
_TEMPORARY = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # created by Windows; names with a leading dot are ignored anyway


@dataclass(frozen=True)
class ScannedFile:
    """A file: its path in the folder, and the attributes that reveal a change."""

    path: Path
    size: int
    mtime_ns: int


class FolderScanner:
    """Scans a folder repeatedly; `skip`: folders inside it that belong to this program."""

    def __init__(
        self, root: Path, *, subfolders: bool, skip: frozenset[Path], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.root = root
        self.unstable = 0
        self._subfolders = subfolders
        self._skip = skip
        self.clock = clock
        self._seen: dict[Path, tuple[ScannedFile, float]] = {}  # with the time since when the file is unchanged
        self._warned: set[Path] = set()

    def scan(self) -> list[ScannedFile]:
        """Return the files that have not changed since the last scan, oldest first; `unstable` counts the others.

        Blocking. Raises OSError if the folder cannot be listed.
        """
        now = self.clock()
        seen: dict[Path, tuple[ScannedFile, float]] = {}
        complete = []
        for found in self._files(Path()):
            before = self._seen.get(found.path)
            since = before[1] if before is not None and before[0] == found else now
            seen[found.path] = found, since
            if now > since and (found.size or now - since >= _EMPTY_S):
                complete.append(found)
        self._seen = seen
        self.unstable = len(seen) - len(complete)
        return sorted(complete, key=lambda f: (f.mtime_ns, f.path))

    def _files(self, folder: Path) -> Iterator[ScannedFile]:
        try:
            with os.scandir(self.root / folder) as entries:
                listed = list(entries)
        except OSError as e:
            if folder == Path():
                raise
            self._warn(folder, f"A subfolder of the watched folder cannot be listed: {e.strerror}.")
            return
        for entry in listed:
            path = folder / entry.name
            if is_temporary(entry.name):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # deleted since it was listed
                continue
            if stat.S_ISDIR(status.st_mode):
                if self._subfolders and self.root / path not in self._skip:
                    yield from self._files(path)
            elif stat.S_ISREG(status.st_mode):
                yield ScannedFile(path, status.st_size, status.st_mtime_ns)
            else:
                self._warn(path, "The watched folder contains something that is not a file (a link, a pipe); it is ignored.")

    def _warn(self, path: Path, message: str) -> None:
        """Log once per path, without the path: names of scanned files may contain names of patients."""
        if path not in self._warned:
            self._warned.add(path)
            log.warning("%s", message)


def is_temporary(name: str) -> bool:
    """Return whether the name marks a file that is still being written or belongs to the system."""
    low = name.lower()
    return low.startswith((".", "~$", "~")) or low.endswith(_TEMPORARY) or low in _SYSTEM_FILES


def read_if_unchanged(root: Path, found: ScannedFile, max_bytes: int) -> bytes | None:
    """Return the bytes of a scanned file, at most `max_bytes` + 1 so that excess is visible; None if it has changed.

    Blocking. Does not follow a link in place of the file or of a folder above it. Raises OSError.
    """
    path = root / found.path
    if path.parent.resolve(strict=True) != root.resolve(strict=True) / found.path.parent:
        return None
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        data = file.read(max_bytes + 1)
        status = os.fstat(handle)
    return data if (status.st_size, status.st_mtime_ns) == (found.size, found.mtime_ns) else None


def has_changed(root: Path, found: ScannedFile) -> bool:
    """Return whether the file has changed since the scan. Blocking; raises OSError if it is gone."""
    status = (root / found.path).lstat()
    return (status.st_size, status.st_mtime_ns) != (found.size, found.mtime_ns)
