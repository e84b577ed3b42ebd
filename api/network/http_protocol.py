"""How uvicorn gives up slow clients. It has no clock for a request that never comes to an end; here are the clocks.

- The head of a request must have come `network.header_timeout_s` seconds after its first byte, or after the connection was
opened.
- A body must make `network.min_upload_kb_s`, after 20 seconds of grace. Time in which we do not read is not the client's.
- After an answer that did not wait for the body (a refusal), the rest of the body is read and thrown away for 10 seconds:
  most clients listen only after they have sent everything.
- A client that takes nothing of its answer for 30 seconds is hung up on.
- A body in pieces (`Transfer-Encoding: chunked`) of fewer than 32 bytes on average, beyond the first 500, is refused: a piece
  of one byte costs as much as one of many. How a client cuts it into packets is its own matter.

A connection beyond `network.connections`, `network.connections_per_address` or the descriptors of the process has one of a few
places in reserve, for a second: /health and /ready are answered, all else is 503.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr

from api.network.ip import parse_ip, rate_limit_key
from api.network.middleware import PROBE_PATHS
from api.network.websocket_protocol import DRAIN_TIMEOUT_S, WRITE_STALL_TIMEOUT_S, LimitedWebSocketProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from api.network.limits import NetworkLimits

_GRACE_S = 20.0
_PROBE_S = 1.0  # in which the head of a request must have come from a connection of the reserve
_FREE_PIECES, _SMALL_PIECE = 500, 32
READ_SIZE = 32 * 1024  # bytes of one connection that are parsed in one go, so that others get their turn; asyncio's own is 256 KB
_BODY = json.dumps({
    "detail": "Too many connections are open.", "code": "too_many_connections",
    "hint": "Close some and try again; whoever runs this machine can raise 'network.connections' and "
    "'network.connections_per_address', or name a proxy in 'network.trusted_proxies'.",
}).encode()  # fmt: skip
_HEAD = b"content-type: application/json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: %d\r\n" % len(_BODY)
FULL = b"HTTP/1.1 503 Service Unavailable\r\n" + _HEAD + b"\r\n" + _BODY
_CONFUSED_BODY = json.dumps({
    "detail": "The request is no HTTP that is understood here, or its body comes in chunks that are too small.",
    "code": "bad_request", "hint": "Send it with an HTTP library, and a body whole or in chunks of a kilobyte or more.",
}).encode()  # fmt: skip
_CONFUSED_HEAD = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(_CONFUSED_BODY)
_CONFUSED = b"HTTP/1.1 400 Bad Request\r\n" + _CONFUSED_HEAD + b"\r\n" + _CONFUSED_BODY


class _ChunkLimitedConnection(h11.Connection):
    """Counts the chunks of a body while they are taken apart, and takes no body that says its length in two ways."""

    _pieces = 0
    _bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's. Raises RemoteProtocolError when pieces are too many and too small, and for two lengths."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("The body has two lengths.")  # a proxy may take the other one (RFC 9112, 6.1)
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += event.chunk_start
            self._bytes += len(event.data)
            if self._pieces > _FREE_PIECES + self._bytes // _SMALL_PIECE:
                raise h11.RemoteProtocolError("The pieces of the body are too small.")
        return event


class TimeoutH11Protocol(H11Protocol):
    """A connection with clocks. `config.app` is an app of `create_app`."""

    _clock: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _who: str | None = None  # under which name it is counted; None: it is not
    _phase: Any = None  # what the clock runs for: h11.IDLE a head, h11.SEND_BODY a body, h11.DONE the rest of a refused body
    _received = 0  # bytes since the phase began
    _upgraded = False
    _reserve = False  # it has one of the last places, which are for probes

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _ChunkLimitedConnection(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or say that there is no room."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE
        if not self._entered and not self._enter(transport):
            transport.write(FULL)
            transport.close()
            return
        if self._reserve:
            self.app = _probes_only(self.app)
        self._run(
            h11.IDLE,
            min(_PROBE_S, self.network.settings.header_timeout_s) if self._reserve else self.network.settings.header_timeout_s,
        )

    @property
    def _entered(self) -> bool:
        """Whether it is counted already."""
        return self._who is not None or self._reserve

    def _enter(self, transport: asyncio.Transport) -> bool:
        """Count it; False where there is no room, not even in the reserve."""
        self.network: NetworkLimits = self.config.app.state.network  # type: ignore[union-attr]
        client = get_remote_addr(transport)
        host = client[0] if client else ""
        counted = client is not None and parse_ip(host) not in self.network.trusted
        if self.network.connections.acquire(rate_limit_key(host), counted=counted):
            self._who = rate_limit_key(host)
        else:
            self._reserve = self.network.connections.reserve(self)
        return self._entered

    def give_way(self) -> bool:
        """End, where no request has come yet; for a newer connection of the reserve."""
        if self.conn.their_state is not h11.IDLE or self._upgraded:
            return False
        self._turn_away()
        return True

    def _turn_away(self) -> None:
        self._stop()
        if not self.transport.is_closing():
            self.transport.write(FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        super().connection_lost(exc)
        self._stop()
        self._read_again()
        self._leave()

    def _leave(self) -> None:
        if self._who is not None:
            self.network.connections.release(self._who)
            self._who = None
        elif self._reserve:
            self.network.connections.leave_reserve(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or of a body."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        super().data_received(data)
        if not self._upgraded:
            self._look()

    def send_400_response(self, msg: str) -> None:
        """What comes cannot be understood. Where an answer was given already, or is being given, there is no other."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_CONFUSED)
        self.transport.close()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def on_response_complete(self) -> None:
        """The answer is written, perhaps before the request has come in full."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(
                WRITE_STALL_TIMEOUT_S, self.transport.abort
            )  # whoever reads nothing does not keep it half closed
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._run(h11.DONE, DRAIN_TIMEOUT_S)
        elif self.conn.their_state is h11.IDLE:
            self._stop()  # uvicorn's own clock for idle connections runs
        else:
            self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after the last answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The connection is a WebSocket's from now on, and so is its place."""
        self._stop()
        self._upgraded = True
        if self._reserve:
            self._turn_away()
            return
        super().handle_websocket_upgrade(event)
        socket = self.transport.get_protocol()
        if not isinstance(socket, LimitedWebSocketProtocol):
            return
        socket.counted, self._who = self._who, None
        if not socket.handshake_initiated:  # the library has given up its head, and would say nothing for ever
            self.transport.abort()

    def _look(self) -> None:
        """Which clock runs, after something has come."""
        state = self.conn.their_state
        if self._phase is h11.DONE and state is h11.SEND_BODY:
            return  # still the rest of what was refused
        if state in (h11.IDLE, h11.SEND_BODY):
            if self._phase is not state:
                self._run(state, self.network.settings.header_timeout_s if state is h11.IDLE else _GRACE_S)
        else:
            self._stop()

    def _run(self, phase: Any, seconds: float) -> None:
        self._stop()
        self._phase, self._received, self._began = phase, 0, self.loop.time()
        self._clock = self.loop.call_later(seconds, self._over)

    def _stop(self) -> None:
        self._phase = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _over(self) -> None:
        if self._phase is h11.SEND_BODY:
            if self.flow.read_paused:  # we are the slow ones
                self._run(h11.SEND_BODY, _GRACE_S)
                return
            earned = _GRACE_S + self._received / (1000 * self.network.settings.min_upload_kb_s)
            left = self._began + earned - self.loop.time()
            if left > 0:
                self._clock = self.loop.call_later(left, self._over)
                return
        elif self._reserve and self._phase is h11.IDLE:
            self._turn_away()
            self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)
            return
        self.transport.abort()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._read_again()

    def _watch_reader(self, size: int) -> None:
        self._unread = self.loop.call_later(WRITE_STALL_TIMEOUT_S, self._still_unread, size)

    def _still_unread(self, size: int) -> None:
        now = self.transport.get_write_buffer_size()
        if now < size:
            self._watch_reader(now)
        else:
            self.transport.abort()

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _probes_only(app: ASGIApp) -> ASGIApp:
    """The app for those who come when there is no room: they hear whether it lives, and nothing else."""

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBE_PATHS:
            await app(scope, receive, send)
            return
        headers = [tuple(line.split(b": ", 1)) for line in _HEAD.split(b"\r\n") if line]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})

    return busy
