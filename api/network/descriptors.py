"""File descriptors: how many connections may use, and what happens to a connection for which there is none.

Every connection takes one, and so do the database, files and child processes. asyncio, out of descriptors, logs each attempt to
accept, thousands a second, and serves nobody. So connections are limited to what leaves the others enough, few are accepted in
one go, and the last descriptors are never given to a connection: it is answered 503 and closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

RESERVE = 32  # connections beyond the limit that may ask for /health and /ready
_MIN_HEADROOM, _MAX_HEADROOM = 80, 256  # descriptors for everything but connections: a third of all, within these bounds
_MIN_CONNECTIONS = 8
_MARGIN = 16  # the last descriptors: no connection gets one of them
_AT_ONCE = 8  # connections that are accepted before those accepted are looked at
_PAUSE_S = 0.01
_OUT = frozenset({errno.EMFILE, errno.ENFILE})


def connection_limit(setting: int) -> int:
    """How many connections there may be: as many as the setting says, or as the process has descriptors for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return setting
    headroom = max(_MIN_HEADROOM, min(_MAX_HEADROOM, limit // 3))
    return max(_MIN_CONNECTIONS, min(setting, limit - headroom - RESERVE))


class Listener(socket.socket):
    """A listening socket that keeps the last descriptors back. `refusal` is what a connection hears that gets none."""

    def __init__(self, *args: Any, refusal: bytes = b"", **options: Any) -> None:
        super().__init__(*args, **options)
        self._refusal = refusal
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """As the socket's. Raises BlockingIOError where there is nobody, or enough for now: asyncio comes again."""
        if self._accepted >= _AT_ONCE:
            raise BlockingIOError(errno.EAGAIN, "enough for now")
        try:
            connection, address = super().accept()
        except OSError as e:
            if e.errno not in _OUT:
                raise
            self._refuse_with_spare()
            raise BlockingIOError(errno.EAGAIN, "out of descriptors") from e
        self._count()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and connection.fileno() >= limit - _MARGIN:  # the system gives the lowest free one
            self._refuse(connection)
            raise BlockingIOError(errno.EAGAIN, "the last descriptors are kept back")
        return connection, address

    def close(self) -> None:
        """Give both descriptors back."""
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _count(self) -> None:
        if not self._accepted:
            with suppress(RuntimeError):  # outside of an event loop nobody comes in bursts
                asyncio.get_running_loop().call_soon(self._forget)
                self._accepted += 1
        else:
            self._accepted += 1

    def _forget(self) -> None:
        self._accepted = 0

    def _refuse(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(self._refusal)
        connection.close()
        log.warning("Connections are refused: the process has hardly any file descriptors left.")

    def _refuse_with_spare(self) -> None:
        """Answer although no descriptor is left: one was reserved for this."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        try:
            connection, _ = super().accept()
        except OSError:
            time.sleep(_PAUSE_S)  # another thread was faster; the event loop must not spin
        else:
            self._refuse(connection)
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
