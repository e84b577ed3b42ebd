"""Which files of a folder are new and complete, told by looking at it twice: network shares have no notification to trust."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_EMPTY_S = 60.0  # an empty file is one that somebody is about to write; after a minute it is taken at its word
_BEING_WRITTEN = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
_LITTER = {"thumbs.db", "desktop.ini"}  # what Windows leaves in folders; names that begin with a dot are passed over anyway


@dataclass(frozen=True)
class ScannedFile:
    """A file: its path within the folder, and what a change would show in."""

    path: Path
    size: int
    mtime_ns: int


class FolderScanner:
    """Looks at a folder again and again; `skip` are folders in it that are ours."""

    def __init__(
        self, root: Path, *, subfolders: bool, skip: frozenset[Path], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.root = root
        self.unstable = 0
        self._subfolders = subfolders
        self._skip = skip
        self._clock = clock
        self._seen: dict[Path, tuple[ScannedFile, float]] = {}  # since when it has looked like this
        self._warned: set[Path] = set()

    def scan(self) -> list[ScannedFile]:
        """The files that have not changed since the last look, oldest first; `unstable` counts the others.

        Blocking. Raises OSError when the folder cannot be listed.
        """
        now = self._clock()
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
            except OSError:  # gone between the list and the look
                continue
            if stat.S_ISDIR(status.st_mode):
                if self._subfolders and self.root / path not in self._skip:
                    yield from self._files(path)
            elif stat.S_ISREG(status.st_mode):
                yield ScannedFile(path, status.st_size, status.st_mtime_ns)
            else:
                self._warn(path, "The watched folder has something that is no file (a link, a pipe); it is never followed.")

    def _warn(self, path: Path, message: str) -> None:
        """Once for each path, and without it: names of scanned files may name patients."""
        if path not in self._warned:
            self._warned.add(path)
            log.warning("%s", message)


def is_temporary(name: str) -> bool:
    """Whether a program that is still writing, or the system, has given a file this name."""
    low = name.lower()
    return low.startswith((".", "~$", "~")) or low.endswith(_BEING_WRITTEN) or low in _LITTER


def read_if_unchanged(root: Path, found: ScannedFile, max_bytes: int) -> bytes | None:
    """The bytes of a file that was found (one more than `max_bytes` at most, which is one too many), or None when it is not
    what was found any more.

    Blocking. A link that took the file's place, or a folder's above it, is not followed. Raises OSError.
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
    """Whether the file is not what was found any more. Blocking; raises OSError when it is gone."""
    status = (root / found.path).lstat()
    return (status.st_size, status.st_mtime_ns) != (found.size, found.mtime_ns)
