"""The data folder belongs to one server at a time: a lock that the kernel releases when its process ends, however it ends.

The lock is `flock(2)` on the file `lock` in the folder, and on the folder itself where that is possible, so that deleting the
file does not admit a second server. The file holds, as JSON, who has the lock (`pid`, `host`) and the id of this appliance
(`instance`): a name for its jobs that stays the same after a restart and that no other folder has. Commands that only add or
read rows (`keys`, `audit`, `backup`, `watch`, `doctor`) take no lock: the database keeps them apart.
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
_WAIT_S = 2.0  # a server that is shutting down may still be closing its files
_POLL_S = 0.05
_MAX_BYTES = 4096
_HELD = (errno.EWOULDBLOCK, errno.EACCES)  # what flock(2) answers, on NFS too, while another process has the lock


class DataFolder:
    """The lock of one data folder, and the id of the appliance that the folder belongs to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.instance = secrets.token_hex(8)  # until the folder's own is known; where no lock can be had it remains
        self._fds: list[int] = []
        self._fork_guarded = False

    @property
    def locked(self) -> bool:
        """Whether this object holds the lock."""
        return bool(self._fds)

    def acquire(self) -> None:
        """Take the lock; does nothing where this object holds it. Blocking, for two seconds at most.

        Raises ConfigError while another process holds it. Where the file system has no locks (some network shares) or the
        folder cannot be written, a warning is logged, and `instance` is one that no other process has: jobs that another
        process has begun are then left alone until its lease has run out.
        """
        if self.locked:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as e:
            log.warning("The data folder %s cannot be locked: %s.", self.folder, e.strerror)
            return
        fds = [fd]
        try:
            fds.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            if self._lock(fd):
                with suppress(OSError):  # a network share that locks files alone
                    self._lock_folder(*fds)
                self._identify(fd)
                self._fds, fds = fds, []
        finally:
            for each in fds:
                os.close(each)
        self._guard_forks()

    def _lock(self, fd: int) -> bool:
        """True with the lock, False where there are no locks. Raises ConfigError."""
        end = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as e:
                if e.errno not in _HELD:
                    log.warning("The data folder %s cannot be locked (%s): see that one server uses it.", self.folder, e.strerror)
                    return False
                if time.monotonic() > end:
                    raise self._refusal(fd) from None
            else:
                return True
            time.sleep(_POLL_S)

    def _lock_folder(self, fd: int, folder: int) -> None:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refusal(fd) from None

    def _refusal(self, fd: int) -> ConfigError:
        holder = _content(fd)
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
        return ConfigError(
            f"The data folder {self.folder} is in use by another process ({who}).",
            hint="Stop that process, or give this one a data folder of its own: HUNYUANOCR_DATA=/another/folder.",
        )

    def _identify(self, fd: int) -> None:
        """Read the appliance's id, or write one, and who holds the lock now."""
        kept = _content(fd).get("instance")
        if isinstance(kept, str) and 8 <= len(kept) <= 64 and kept.isalnum():
            self.instance = kept
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "instance": self.instance}) + "\n"
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, text.encode(), 0)
            os.fsync(fd)
        except OSError as e:  # a full disk: the lock holds all the same, and the id is a new one at the next start
            log.warning("%s cannot be written: %s.", self.folder / FILE, e.strerror)

    def _guard_forks(self) -> None:
        """A child that was forked without exec would hold the lock after this process has been killed."""
        if self._fork_guarded:
            return
        self._fork_guarded = True
        this = weakref.ref(self)

        def close_in_child() -> None:
            folder = this()
            if folder is not None:
                folder.release()

        os.register_at_fork(after_in_child=close_in_child)

    def release(self) -> None:
        """Give the lock back. May be called twice."""
        fds, self._fds = self._fds, []
        for fd in fds:
            with suppress(OSError):
                os.close(fd)


def _content(fd: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(fd, _MAX_BYTES, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
