"""HTTPS without a proxy.

asyncio reports a TLS connection only after the handshake, which may take a minute. Here, a connection is counted when it is
opened, and its handshake has the header timeout.
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
    """Return the protocol factory for uvicorn.

    Side effect: sets the TLS read buffer of all connections of the process to `READ_SIZE` bytes. asyncio's default is 256 KB per
    connection, which takes much memory for idle connections and blocks the event loop longer per read.
    """
    SSLProtocol.max_size = READ_SIZE
    return partial(TimeoutHttpsProtocol, context)


class TimeoutHttpsProtocol(TimeoutH11Protocol):
    """A `TimeoutH11Protocol` with TLS. Excess connections are closed without a response, which would need a handshake."""

    def __init__(self, context: ssl.SSLContext, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._context = context
        self._handshake_done = False  # the handshake is complete
        self._early_data = b""  # data received together with the end of the handshake

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection and start the handshake."""
        self.transport = transport
        if not self._count_connection(transport) or (self._reserve and not self.network.connections.full):
            self._release()
            transport.abort()
            return
        self.connections.add(self)  # so that it is closed when the server stops
        handshake = self.loop.create_task(self._handshake(transport))
        self.tasks.add(handshake)
        handshake.add_done_callback(self.tasks.discard)

    async def _handshake(self, transport: asyncio.Transport) -> None:
        try:
            tls_transport = await self.loop.start_tls(
                transport, self, self._context, server_side=True, ssl_handshake_timeout=self.network.settings.header_timeout_s
            )
        except OSError:  # ssl.SSLError is one
            tls_transport = None
        if tls_transport is None or tls_transport.is_closing():
            transport.abort()
            self.connections.discard(self)
            self._release()
            return
        self._handshake_done = True
        super().connection_made(tls_transport)
        if self._early_data:
            self.data_received(self._early_data)
            self._early_data = b""

    def _reject(self) -> None:
        """Reject the connection, without a response before the handshake is complete."""
        if self._handshake_done:
            super()._reject()
        else:
            self._stop_timer()
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle received bytes. The first ones may arrive before `_handshake` resumes."""
        if self._handshake_done:
            super().data_received(data)
        else:
            self._early_data += data
