"""WebSocket protocol with resource limits, in addition to uvicorn's ping timeout:

- Bytes of incomplete messages count against the upload budget, and the number of fragments is limited.
- Before authentication, only short messages are accepted. A longer one closes the connection while it is being received.
- After an error that closes the connection, received data is discarded for some time: most clients read only after sending
  everything, and closing a connection with unread data resets it, so that the close reason is lost.
- A client that does not read what the server sends is disconnected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.network.ip import rate_limit_key
from api.network.middleware import client_host

if TYPE_CHECKING:
    from api.network.limits import NetworkLimits

_MAX_FRAGMENTS = 20_000  # of one message; each fragment is an object in memory, however short it is
_MAX_UNAUTHENTICATED_LENGTH = 32 * 1024  # bytes, twice the longest token: up to this size a client receives the exact error
WRITE_STALL_TIMEOUT_S = 30.0  # for a client that reads nothing
_NOT_UTF8, _MESSAGE_TOO_BIG, _TRY_AGAIN_LATER = 1007, 1009, 1013  # RFC 6455, 7.4.1, and the IANA registry of close codes


class LimitedWebSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection. `config.app` must be an app of `create_app`."""

    counted: str | None = None  # key under which the connection is counted
    _client_key = ""
    _held_bytes = 0  # bytes received since the last message was delivered
    _draining = False  # the close reason was sent; received data is discarded
    _received_data = False  # data was received since the last check

    def data_received(self, data: bytes) -> None:
        """Handle received bytes, starting with those of the handshake."""
        if self._draining:
            self._received_data = True
            return
        if not self.close_sent and not self._acquire(len(data)):
            self._fail(_TRY_AGAIN_LATER, "upload memory limit reached")
            return
        super().data_received(data)
        if len(self.frames) > _MAX_FRAGMENTS:
            self._fail(_TRY_AGAIN_LATER, "too many fragments")
        elif self._held_bytes > _MAX_UNAUTHENTICATED_LENGTH and self.queue.empty() and not self._is_authenticated():
            self._fail(_MESSAGE_TOO_BIG, "authentication required")

    def _acquire(self, count: int) -> bool:
        scope = getattr(self, "scope", None)
        if scope is None:
            return True
        if not self._held_bytes:  # not earlier: behind a proxy, the app sets the client address
            self._client_key = rate_limit_key(client_host(scope))
        if not self._network.budget.acquire(self._client_key, count):
            return False
        self._held_bytes += count
        return True

    @property
    def _network(self) -> NetworkLimits:
        network: NetworkLimits = self.config.app.state.network  # type: ignore[union-attr]
        return network

    def _is_authenticated(self) -> bool:
        """Return whether the connection is authenticated."""
        return "identity" in self.scope["state"]

    def send_receive_event_to_app(self) -> None:
        """Deliver a complete message. Invalid UTF-8 is a client error, which must not cause a traceback in the log."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._fail(_NOT_UTF8, "invalid UTF-8")
                return
        super().send_receive_event_to_app()

    def _fail(self, code: int, why: str) -> None:
        if self.handshake_complete and not self.close_sent:
            self.frames = []
            self.conn.fail(code, why)
            self.handle_parser_exception()
        else:
            self.transport.abort()

    def handle_parser_exception(self) -> None:
        """Send the close frame after a protocol error, and discard what the client still sends."""
        close = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code if close else 1006})
        self.close_sent = self._draining = True
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._resume_reading()
        self._drain(self.loop.time() + self._network.drain_timeout_s)

    def _drain(self, until: float) -> None:
        self._received_data = False
        self.close_timer = self.loop.call_later(self._network.quiet_period_s, self._check_drained, until)

    def _check_drained(self, until: float) -> None:
        if self._received_data and self.loop.time() < until:
            self._drain(until)
        else:
            self.transport.close()
            self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """Close a connection that does not answer pings, and abort it if the client does not read either."""
        super().keepalive_timeout()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Send a message. Raises ClientDisconnected also while the connection is draining after an error."""
        if self._draining:
            raise ClientDisconnected
        await super().send(message)

    async def receive(self) -> Any:
        """Return the next message and release its bytes from the budget.

        Before authentication, data after the first message is not read until the app calls this method again: it may be an image.
        """
        if self.read_paused and self.queue.empty():
            self._resume_reading()
        message = await super().receive()
        if self.queue.empty():
            self._release()
            if message["type"] == "websocket.receive" and not self._is_authenticated():
                self.read_paused = True
                self.transport.pause_reading()
        return message

    def _resume_reading(self) -> None:
        self.read_paused = False
        self.transport.resume_reading()

    def _release(self) -> None:
        if self._held_bytes:
            self._network.budget.release(self._client_key, self._held_bytes)
            self._held_bytes = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's slot and its bytes."""
        super().connection_lost(exc)
        self._release()
        if self.counted is not None:
            self.config.app.state.network.connections.release(self.counted)  # type: ignore[union-attr]
            self.counted = None
