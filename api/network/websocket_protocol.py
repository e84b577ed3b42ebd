"""WebSockets on a diet. Pings find out who is gone, and beside them:

- Bytes of messages that are not complete yet count as uploads, and fragments are counted.
- A client that has not said yet who it is has room for what says so: a longer message ends the connection while it comes.
- After a mistake that ends the connection, what still comes is thrown away for a while: most clients listen only after they
  have sent everything, and a connection that is closed with bytes unread is reset, and the reason lost with it.
- A client that takes nothing of what it was sent is hung up on, and not waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.network.ip import rate_limit_key
from api.network.middleware import client_host

if TYPE_CHECKING:
    from api.network.limits import ByteBudget

_MAX_FRAGMENTS = 20_000  # of one message; each is an object, however short it is
_MAX_UNAUTHENTICATED_LENGTH = 32 * 1024  # bytes, twice the longest key or token: up to here a client hears why it is refused
DRAIN_TIMEOUT_S = 10.0  # for what a client still sends that has its answer
_QUIET_S = 1.0  # without a byte from it: it has sent everything
WRITE_STALL_TIMEOUT_S = 30.0  # for a client that takes nothing
_NOT_UTF8, _TOO_BIG, _TRY_AGAIN_LATER = 1007, 1009, 1013  # RFC 6455, 7.4.1, and the IANA registry of close codes


class LimitedWebSocketProtocol(WebSocketsSansIOProtocol):
    """A connection of a camera. `config.app` is an app of `create_app`."""

    counted: str | None = None  # under which name its place among the connections is counted
    _holder = ""
    _held = 0  # bytes since the last message was taken
    _deaf = False  # it has been told why this is the end
    _heard = False  # something has come since, and was thrown away

    def data_received(self, data: bytes) -> None:
        """Bytes of frames; the first of all are those of the handshake."""
        if self._deaf:
            self._heard = True
            return
        if not self.close_sent and not self._hold(len(data)):
            self._give_up(_TRY_AGAIN_LATER, "too many bytes are being uploaded")
            return
        super().data_received(data)
        if len(self.frames) > _MAX_FRAGMENTS:
            self._give_up(_TRY_AGAIN_LATER, "too many fragments")
        elif self._held > _MAX_UNAUTHENTICATED_LENGTH and self.queue.empty() and not self._named():
            self._give_up(_TOO_BIG, "say first who you are")

    def _hold(self, count: int) -> bool:
        scope = getattr(self, "scope", None)
        if scope is None:
            return True
        if not self._held:  # a proxy's connection has its client's address once the app has looked at it
            self._holder = rate_limit_key(client_host(scope))
        if not self._budget().acquire(self._holder, count):
            return False
        self._held += count
        return True

    def _budget(self) -> ByteBudget:
        budget: ByteBudget = self.config.app.state.network.budget  # type: ignore[union-attr]
        return budget

    def _named(self) -> bool:
        """Whether the guard knows by now whose it is."""
        return "identity" in self.scope["state"]

    def send_receive_event_to_app(self) -> None:
        """A message is complete. Text that is no UTF-8 is the client's mistake, not one of ours that needs a traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self._give_up(_NOT_UTF8, "text that is not UTF-8")
                return
        super().send_receive_event_to_app()

    def _give_up(self, code: int, why: str) -> None:
        if self.handshake_complete and not self.close_sent:
            self.frames = []
            self.conn.fail(code, why)
            self.handle_parser_exception()
        else:
            self.transport.abort()

    def handle_parser_exception(self) -> None:
        """The client has made a mistake after which its bytes mean nothing: tell it, and wait until it has sent them."""
        told = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": told.code if told else 1006})
        self.close_sent = self._deaf = True
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._read_on()
        self._linger(self.loop.time() + DRAIN_TIMEOUT_S)

    def _linger(self, until: float) -> None:
        self._heard = False
        self.close_timer = self.loop.call_later(_QUIET_S, self._still_sending, until)

    def _still_sending(self, until: float) -> None:
        if self._heard and self.loop.time() < until:
            self._linger(until)
        else:
            self.transport.close()
            self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def keepalive_timeout(self) -> None:
        """It answers no pings; perhaps it does not read either."""
        super().keepalive_timeout()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    async def send(self, message: Any) -> None:
        """As uvicorn's. Raises ClientDisconnected also where the client is still there, and has been told why this is the end."""
        if self._deaf:
            raise ClientDisconnected
        await super().send(message)

    async def receive(self) -> Any:
        """The next message; its bytes are its receiver's from now on. What follows the first message of a client that is not
        known yet is not read before it is asked for: it may be a picture, and come in the same breath.
        """
        if self.read_paused and self.queue.empty():
            self._read_on()
        message = await super().receive()
        if self.queue.empty():
            self._give_back()
            if message["type"] == "websocket.receive" and not self._named():
                self.read_paused = True
                self.transport.pause_reading()
        return message

    def _read_on(self) -> None:
        self.read_paused = False
        self.transport.resume_reading()

    def _give_back(self) -> None:
        if self._held:
            self._budget().release(self._holder, self._held)
            self._held = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free."""
        super().connection_lost(exc)
        self._give_back()
        if self.counted is not None:
            self.config.app.state.network.connections.release(self.counted)  # type: ignore[union-attr]
            self.counted = None
