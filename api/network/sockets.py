"""WebSockets on a diet. Pings find out who is gone, and beside them:

- Bytes of messages that are not complete yet count as uploads, and fragments are counted.
- A client that has not said yet who it is has room for what says so: a longer message ends the connection while it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.network.addresses import share
from api.network.doors import host_of

if TYPE_CHECKING:
    from api.network.shared import Budget

_MOST_FRAGMENTS = 20_000  # of one message; each is an object, however short it is
_LONGEST_UNNAMED = 32 * 1024  # bytes, twice the longest key or token: up to here a client hears why it is refused
_NOT_UTF8, _TOO_BIG, _TRY_AGAIN_LATER = 1007, 1009, 1013  # RFC 6455, 7.4.1, and the IANA registry of close codes


class PatientSocket(WebSocketsSansIOProtocol):
    """A connection of a camera. `config.app` is an app of `create_app`."""

    counted: str | None = None  # under which name its place among the connections is counted
    _holder = ""
    _held = 0  # bytes since the last message was taken

    def data_received(self, data: bytes) -> None:
        """Bytes of frames; the first of all are those of the handshake."""
        if not self.close_sent and not self._hold(len(data)):
            self._give_up(_TRY_AGAIN_LATER, "too many bytes are being uploaded")
            return
        super().data_received(data)
        if len(self.frames) > _MOST_FRAGMENTS:
            self._give_up(_TRY_AGAIN_LATER, "too many fragments")
        elif self._held > _LONGEST_UNNAMED and self.queue.empty() and not self._named():
            self._give_up(_TOO_BIG, "say first who you are")

    def _hold(self, count: int) -> bool:
        scope = getattr(self, "scope", None)
        if scope is None:
            return True
        if not self._held:  # a proxy's connection has its client's address once the app has looked at it
            self._holder = share(host_of(scope))
        if not self._budget().take(self._holder, count):
            return False
        self._held += count
        return True

    def _budget(self) -> Budget:
        budget: Budget = self.config.app.state.network.budget  # type: ignore[union-attr]
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
            self._budget().give(self._holder, self._held)
            self._held = 0

    def connection_lost(self, exc: Exception | None) -> None:
        """Its place is free."""
        super().connection_lost(exc)
        self._give_back()
        if self.counted is not None:
            self.config.app.state.network.connections.leave(self.counted)  # type: ignore[union-attr]
            self.counted = None
