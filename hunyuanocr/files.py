"""Files that are written completely or not at all, even if the power fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path, *, suffix: str = ".part") -> Iterator[Path]:
    """Yield a temporary path in the same folder, which replaces `path` after the block; after an error it is deleted.

    Blocking; raises OSError. The data is on disk when the block has been left. The temporary name ends in `suffix` and is always
    the same, so that a crash leaves at most one; concurrent writers of one path need different suffixes.
    """
    temporary = path.with_name(f".{path.name}{suffix}")
    try:
        yield temporary
        if not temporary.is_symlink():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o666, suffix: str = ".part") -> None:
    """Write a file, or leave the old one. `mode`: permissions before the umask; `suffix`: see `replacing`.

    Blocking; raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with replacing(path, suffix=suffix) as temporary, os.fdopen(os.open(temporary, flags, mode), "wb") as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Flush the directory entries to disk. Errors are ignored, since some network shares do not support it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
