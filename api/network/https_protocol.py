"""HTTPS without a proxy. asyncio's own way to serve it tells nobody of a connection before its handshake is over, and waits a
minute for that; here a connection is counted when it is opened, and its handshake has the time of a head.
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from functools import partial
from typing import Any

from api.network.http_protocol import READ_SIZE, TimeoutH11Protocol


def https_protocol(context: ssl.SSLContext) -> Callable[..., TimeoutHttpsProtocol]:
    """What uvicorn is to make of a connection. In this process each connection with TLS has a buffer of `READ_SIZE` bytes
    from now on: asyncio's is 256 KB, which a thousand that only knock would fill, and so much of one is taken apart in
    one go.
    """
    SSLProtocol.max_size = READ_SIZE
    return partial(TimeoutHttpsProtocol, context)


class TimeoutHttpsProtocol(TimeoutH11Protocol):
    """A PatientHttp that speaks TLS. Who finds no room is closed without a word: that could be said only after a handshake."""

    def __init__(self, context: ssl.SSLContext, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._context = context
        self._safe = False  # the handshake is over
        self._early = b""  # what came with its last bytes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and begin the handshake."""
        self.transport = transport
        if not self._enter(transport) or (self._reserve and not self.network.connections.full):
            self._leave()
            transport.abort()
            return
        self.connections.add(self)  # so that it is closed when the server goes
        shaking = self.loop.create_task(self._shake(transport))
        self.tasks.add(shaking)
        shaking.add_done_callback(self.tasks.discard)

    async def _shake(self, transport: asyncio.Transport) -> None:
        try:
            safe = await self.loop.start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=self.network.settings.header_timeout_s
            )
        except OSError:  # ssl.SSLError is one
            safe = None
        if safe is None or safe.is_closing():
            transport.abort()
            self.connections.discard(self)
            self._leave()
            return
        self._safe = True
        super().connection_made(safe)
        if self._early:
            self.data_received(self._early)
            self._early = b""

    def _turn_away(self) -> None:
        """Without a word, where there has been no handshake."""
        if self._safe:
            super()._turn_away()
        else:
            self._stop()
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or of a body; the first may come before `_shake` hears that the handshake is over."""
        if self._safe:
            super().data_received(data)
        else:
            self._early += data
