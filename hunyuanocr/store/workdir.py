"""Temporary folders for copies of records. Folders of killed processes are deleted on the next start or use."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKUP, RESTORE, EXPORT = ".backup-", ".restore-", ".export-"  # name prefixes
_STALE_S = 24 * 3600.0  # for file systems without locks: no operation takes this long
_MAX_ATTEMPTS = 5


@contextmanager
def workdir(folder: Path, prefix: str) -> Iterator[Path]:
    """Create a private folder in `folder` and delete it at the end. First delete abandoned folders with the same prefix.

    The process holds a lock on the folder while it uses it. Raises OSError.
    """
    remove_dead(folder, prefix)
    for _ in range(_MAX_ATTEMPTS):
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix, ignore_cleanup_errors=True) as name:
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if not Path(name).is_dir():  # another process took it for abandoned before it was locked
                    continue
                yield Path(name)
                return
            finally:
                os.close(handle)
    raise OSError(f"cannot create a temporary folder in {folder}")


def remove_dead(folder: Path, *prefixes: str) -> None:
    """Delete folders with these prefixes whose process has ended; best effort."""
    for prefix in prefixes:
        for leftover in folder.glob(f"{prefix}*"):
            with suppress(OSError):
                if _is_abandoned(leftover):
                    shutil.rmtree(leftover)


def _is_abandoned(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return folder.stat().st_mtime < time.time() - _STALE_S
    finally:
        os.close(handle)
    return True
