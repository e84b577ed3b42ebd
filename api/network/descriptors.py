"""Limits on the file descriptors that connections use.

Connections, the database, files and child processes all need descriptors. When they run out, asyncio logs each failed accept,
thousands per second, and serves no client. Therefore the number of connections leaves enough descriptors for everything else,
few connections are accepted at a time, and the last descriptors are never used for connections, which get status 503 instead.
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

RESERVE = 32  # connections beyond the limit, for /health and /ready
_MIN_HEADROOM, _MAX_HEADROOM = 80, 256  # descriptors for everything except connections: a third, within these bounds
_MIN_CONNECTIONS = 8
_MARGIN = 16  # the last descriptors, which are not used for connections
_MAX_ACCEPTS = 8  # connections accepted per turn of the event loop
_PAUSE_S = 0.01
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})


def connection_limit(setting: int) -> int:
    """Return the maximum number of connections: the setting, or less if the process has too few descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return setting
    headroom = max(_MIN_HEADROOM, min(_MAX_HEADROOM, limit // 3))
    return max(_MIN_CONNECTIONS, min(setting, limit - headroom - RESERVE))


class Listener(socket.socket):
    """A listening socket that keeps the last descriptors free. Connections without a descriptor get `refusal` as response."""

    def __init__(self, *args: Any, refusal: bytes = b"", **options: Any) -> None:
        super().__init__(*args, **options)
        self._refusal = refusal
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises BlockingIOError if none is waiting or the limit is reached; asyncio then retries."""
        if self._accepted >= _MAX_ACCEPTS:
            raise BlockingIOError(errno.EAGAIN, "limit per turn reached")
        try:
            connection, address = super().accept()
        except OSError as e:
            if e.errno not in _EXHAUSTED:
                raise
            self._reject_with_spare()
            raise BlockingIOError(errno.EAGAIN, "out of descriptors") from e
        self._count()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if (
            limit != resource.RLIM_INFINITY and connection.fileno() >= limit - _MARGIN
        ):  # the system assigns the lowest free number
            self._reject(connection)
            raise BlockingIOError(errno.EAGAIN, "the last descriptors are reserved")
        return connection, address

    def close(self) -> None:
        """Close the socket and the spare descriptor."""
        super().close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _count(self) -> None:
        if not self._accepted:
            with suppress(RuntimeError):  # without an event loop there are no bursts
                asyncio.get_running_loop().call_soon(self._reset_count)
                self._accepted += 1
        else:
            self._accepted += 1

    def _reset_count(self) -> None:
        self._accepted = 0

    def _reject(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setblocking(False)
            connection.send(self._refusal)
        connection.close()
        log.warning("Connections are rejected: the process has almost no file descriptors left.")

    def _reject_with_spare(self) -> None:
        """Send a response although no descriptor is left, with the spare one."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        try:
            connection, _ = super().accept()
        except OSError:
            time.sleep(_PAUSE_S)  # another thread took the descriptor; the event loop must not spin
        else:
            self._reject(connection)
        with suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY)
