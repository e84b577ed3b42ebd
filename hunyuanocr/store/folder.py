"""A lock on the data folder, so that one server uses it at a time. The kernel releases it when the process ends.

The lock is `flock(2)` on the file `lock` in the folder, and on the folder itself if possible, so that deleting the file does not
allow a second server. The file contains, as JSON, the holder (`pid`, `host`) and the id of this appliance (`instance`): a worker
name that is stable across restarts and unique to the folder. Commands that only add or read rows (`keys`, `audit`, `backup`,
`watch`, `doctor`) take no lock; the database isolates them.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
import socket
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from hunyuanocr.errors import ConfigError

log = logging.getLogger(__name__)

FILE = "lock"
_POLL_S = 0.05
_MAX_BYTES = 4096
_LOCKED = (errno.EWOULDBLOCK, errno.EACCES)  # errors of flock(2), also on NFS, while another process holds the lock


class DataFolder:
    """The lock of one data folder, and the id of its appliance."""

    wait_s = 2.0  # a server that is shutting down may still hold the lock

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.instance = secrets.token_hex(8)  # until the folder's id is known; remains if no lock is available
        self._fds: list[int] = []
        self._fork_guarded = False

    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return bool(self._fds)

    def acquire(self) -> None:
        """Take the lock; no effect if this object holds it. Blocks for two seconds at most.

        Raises ConfigError if another process holds it. If the file system has no locks (some network shares) or the folder is
        not writable, a warning is logged and `instance` stays unique to this process: jobs that another process has started are
        then left alone until its lease has expired.
        """
        if self.locked:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            log.warning("Cannot lock the data folder %s: %s.", self.folder, e.strerror)
            return
        fds = [fd]
        try:
            fds.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if self._lock(fd):
                with suppress(OSError):  # a network share that only locks files
                    self._lock_folder(*fds)
                self._identify(fd)
                self._fds, fds = fds, []
        finally:
            for each in fds:
                os.close(each)
        self._guard_forks()

    def _lock(self, fd: int) -> bool:
        """Return True with the lock, False if the file system has no locks. Raises ConfigError."""
        end = time.monotonic() + self.wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                if e.errno not in _LOCKED:
                    log.warning("Cannot lock the data folder %s (%s): use it for one server only.", self.folder, e.strerror)
                    return False
                if time.monotonic() > end:
                    raise self._in_use(fd) from None
            else:
                return True
            time.sleep(_POLL_S)

    def _lock_folder(self, fd: int, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use(fd) from None

    def _in_use(self, fd: int) -> ConfigError:
        holder = _content(fd)
        process = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        return ConfigError(
            f"The data folder {self.folder} is in use by another process ({process}).",
            hint="Stop that process, or use another data folder: HUNYUANOCR_DATA=/another/folder.",
        )

    def _identify(self, fd: int) -> None:
        """Read or create the appliance's id, and write the holder of the lock."""
        instance = _content(fd).get("instance")
        if isinstance(instance, str) and 8 <= len(instance) <= 64 and instance.isalnum():
            self.instance = instance
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "instance": self.instance}) + "\n"
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, text.encode(), 0)
            os.fsync(fd)
        except OSError as e:  # disk full: the lock is valid anyway, and the next start creates a new id
            log.warning("Cannot write %s: %s.", self.folder / FILE, e.strerror)

    def _guard_forks(self) -> None:
        """Release the lock in forked children, which would otherwise hold it after this process has been killed."""
        if self._fork_guarded:
            return
        self._fork_guarded = True
        self_ref = weakref.ref(self)

        def close_in_child() -> None:
            folder = self_ref()
            if folder is not None:
                folder.release()

        os.register_at_fork(after_in_child=close_in_child)

    def release(self) -> None:
        """Release the lock. Can be called twice."""
        fds, self._fds = self._fds, []
        for fd in fds:
            with suppress(OSError):
                os.close(fd)


def _content(fd: int) -> dict[str, Any]:
    try:
        content = json.loads(os.pread(fd, _MAX_BYTES, 0))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
