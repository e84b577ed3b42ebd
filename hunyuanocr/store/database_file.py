"""The file of a SQLite database: created privately, and watched while the program runs."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from hunyuanocr.errors import StoreUnavailable

_MIN_FREE_BYTES = 1 << 20  # with less, SQLite's log or a stored image cannot grow


def sqlite_uri(file: Path, options: str) -> str:
    """Return the URI of a file for `sqlite3.connect(…, uri=True)`; a name may contain `%`, `?` and `#`."""
    return f"{file.absolute().as_uri()}?{options}"


class DatabaseFile:
    """A database file.

    A file that is deleted or replaced stays usable for connections that are open, and everything written to it is lost at the
    next start. SQLite notices this only without WAL. Therefore the file is compared with the one that was opened, as SQLite
    does it: by device and inode number.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._opened: tuple[int, int] | None = None

    def create(self) -> None:
        """Create the folder and an empty file, private to this user. Raises StoreUnavailable."""
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # records are private
        except OSError as e:
            raise StoreUnavailable(
                f"Cannot create the database folder {folder}: {e.strerror}.",
                hint="Give this program's user write permission, or set 'data' to another folder.",
            ) from e
        with suppress(OSError):  # an existing file keeps its mode; SQLite reports a disk that is not writable
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite creates its log with the same mode

    def remember(self) -> None:
        """Remember which file is open now."""
        self._opened = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            state = self.path.stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino

    def check(self) -> None:
        """Raise StoreUnavailable if the file that was opened is not at its path any more."""
        if self._opened is not None and self._identity() != self._opened:
            raise StoreUnavailable(
                f"The database file {self.path} was deleted or replaced while the program was running.",
                hint="Put the file back, or restore a backup and restart the program.",
            )

    def check_space(self) -> None:
        """Raise StoreUnavailable if the disk is full."""
        with suppress(OSError):
            if shutil.disk_usage(self.path.parent).free < _MIN_FREE_BYTES:
                hint = "Free disk space, or shorten the retention of records and images."
                raise StoreUnavailable(f"The disk of {self.path} is full.", hint=hint)
