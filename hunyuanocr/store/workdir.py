"""Temporary folders for copies of records. Those of killed processes are deleted at the next start, or by the next user."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BACKUP, RESTORE, EXPORT = ".backup-", ".restore-", ".export-"  # what their names begin with
_DEAD_S = 24 * 3600.0  # where a file system has no locks: nothing works for so long
_TRIES = 5


@contextmanager
def workdir(folder: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `folder`, for its owner alone, deleted at the end. Leftovers of the same prefix are deleted first.

    Its process holds a lock on it for as long as it lives. Raises OSError.
    """
    remove_dead(folder, prefix)
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory(dir=folder, prefix=prefix, ignore_cleanup_errors=True) as name:
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with suppress(OSError):
                    fcntl.flock(handle, fcntl.LOCK_EX)
                if not Path(name).is_dir():  # taken for dead before it was locked
                    continue
                yield Path(name)
                return
            finally:
                os.close(handle)
    raise OSError(f"no folder to work in could be made in {folder}")


def remove_dead(folder: Path, *prefixes: str) -> None:
    """Delete folders of these prefixes whose process is gone; best effort."""
    for prefix in prefixes:
        for left in folder.glob(f"{prefix}*"):
            with suppress(OSError):
                if _dead(left):
                    shutil.rmtree(left)


def _dead(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return folder.stat().st_mtime < time.time() - _DEAD_S
    finally:
        os.close(handle)
    return True
