"""HTTP protocol of uvicorn with timeouts and limits for slow clients. uvicorn itself has no timeout for an unfinished request.

- Headers must be complete within `network.header_timeout_s` seconds of their first byte, or of opening the connection.
- A body must arrive at `network.min_upload_kb_s` or faster, after a grace period of 20 seconds. Time in which the server does
  not read does not count.
- After a response that was sent before the whole body arrived (an error), the rest of the body is read and discarded for 10
  seconds: most clients read the response only after sending everything.
- A client that reads nothing of the response for 30 seconds is disconnected.
- A body with `Transfer-Encoding: chunked` is rejected if it has more than 500 chunks and they are smaller than 32 bytes on
  average: a chunk of one byte costs as much time as a large one. The division into packets does not matter.

Connections beyond `network.connections`, `network.connections_per_address` or the available file descriptors use a small
reserve for one second: /health and /ready are served, all other requests get status 503.
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
from api.network.websocket_protocol import WRITE_STALL_TIMEOUT_S, LimitedWebSocketProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from api.network.limits import NetworkLimits

_RESERVE_HEADER_TIMEOUT_S = 1.0  # for a connection of the reserve
_MIN_CHECKED_CHUNKS, _MIN_CHUNK_SIZE = 500, 32
READ_SIZE = 32 * 1024  # bytes parsed per read, so that other connections are served in between; asyncio's default is 256 KB
_FULL_BODY = json.dumps(
    {
        "detail": "Too many connections are open.",
        "code": "too_many_connections",
        "hint": "Close some connections and try again. The administrator can raise 'network.connections' and "
        "'network.connections_per_address', or add a proxy to 'network.trusted_proxies'.",
    }
).encode()
_FULL_HEADERS = b"content-type: application/json\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: %d\r\n" % len(
    _FULL_BODY
)
FULL = b"HTTP/1.1 503 Service Unavailable\r\n" + _FULL_HEADERS + b"\r\n" + _FULL_BODY
_MALFORMED_BODY = json.dumps(
    {
        "detail": "Malformed HTTP request, or the chunks of the body are too small.",
        "code": "bad_request",
        "hint": "Use an HTTP library, and send chunks of 1 KB or more.",
    }
).encode()
_MALFORMED_HEADERS = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n" % len(_MALFORMED_BODY)
_MALFORMED = b"HTTP/1.1 400 Bad Request\r\n" + _MALFORMED_HEADERS + b"\r\n" + _MALFORMED_BODY


class _ChunkLimitedConnection(h11.Connection):
    """Rejects bodies with too many small chunks, and requests with both `Content-Length` and `Transfer-Encoding`."""

    _chunks = 0
    _bytes = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event. Raises RemoteProtocolError for too many small chunks or two body lengths."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                # A proxy may use the other length, which allows request smuggling (RFC 9112, 6.1).
                raise h11.RemoteProtocolError("The body has two lengths.")
            self._chunks = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _MIN_CHECKED_CHUNKS + self._bytes // _MIN_CHUNK_SIZE:
                raise h11.RemoteProtocolError("The chunks of the body are too small.")
        return event


class TimeoutH11Protocol(H11Protocol):
    """An HTTP connection with timeouts. `config.app` must be an app of `create_app`."""

    _timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _counted_key: str | None = None  # key under which the connection is counted; None: not counted
    _phase: Any = None  # what the timer limits: h11.IDLE headers, h11.SEND_BODY a body, h11.DONE the rest of a rejected body
    _received = 0  # bytes since the phase started
    _upgraded = False
    _reserve = False  # the connection belongs to the reserve

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = _ChunkLimitedConnection(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, or reject it with status 503 if the limit is reached."""
        super().connection_made(transport)
        if hasattr(transport, "max_size"):
            transport.max_size = READ_SIZE
        if not self._is_counted and not self._count_connection(transport):
            transport.write(FULL)
            transport.close()
            return
        if self._reserve:
            self.app = _probes_only(self.app)
        self._start_timer(
            h11.IDLE,
            min(_RESERVE_HEADER_TIMEOUT_S, self.network.settings.header_timeout_s)
            if self._reserve
            else self.network.settings.header_timeout_s,
        )

    @property
    def _is_counted(self) -> bool:
        """Return whether the connection is counted, regularly or in the reserve."""
        return self._counted_key is not None or self._reserve

    def _count_connection(self, transport: asyncio.Transport) -> bool:
        """Count the connection. Returns False if the limit is reached and the reserve is full."""
        self.network: NetworkLimits = self.config.app.state.network  # type: ignore[union-attr]
        client = get_remote_addr(transport)
        host = client[0] if client else ""
        counted = client is not None and parse_ip(host) not in self.network.trusted
        if self.network.connections.acquire(rate_limit_key(host), counted=counted):
            self._counted_key = rate_limit_key(host)
        else:
            self._reserve = self.network.connections.reserve(self)
        return self._is_counted

    def close_if_idle(self) -> bool:
        """Close the connection if it has not sent a request yet, and return whether it was closed."""
        if self.conn.their_state is not h11.IDLE or self._upgraded:
            return False
        self._reject()
        return True

    def _reject(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers and release the connection's slot."""
        super().connection_lost(exc)
        self._stop_timer()
        self._stop_write_timer()
        self._release()

    def _release(self) -> None:
        if self._counted_key is not None:
            self.network.connections.release(self._counted_key)
            self._counted_key = None
        elif self._reserve:
            self.network.connections.leave_reserve(self)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes of headers or a body."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        super().data_received(data)
        if not self._upgraded:
            self._update_timer()

    def send_400_response(self, msg: str) -> None:
        """Reject a malformed request. No response is sent if one has already been started."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_MALFORMED)
        self.transport.close()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def on_response_complete(self) -> None:
        """Set the timer after a response, which may end before the whole request was received."""
        super().on_response_complete()
        if self.transport.is_closing():
            # A client that does not read must not keep the connection half-closed.
            self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._start_timer(h11.DONE, self.network.drain_timeout_s)
        elif self.conn.their_state is h11.IDLE:
            self._stop_timer()  # uvicorn's keep-alive timeout applies
        else:
            self._update_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a new request after the last response."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection and its slot over to the WebSocket protocol."""
        self._stop_timer()
        self._upgraded = True
        if self._reserve:
            self._reject()
            return
        super().handle_websocket_upgrade(event)
        socket = self.transport.get_protocol()
        if not isinstance(socket, LimitedWebSocketProtocol):
            return
        socket.counted, self._counted_key = self._counted_key, None
        if not socket.handshake_initiated:  # the library rejected the headers and would never send a response
            self.transport.abort()

    def _update_timer(self) -> None:
        """Start or stop the timer after received data, according to the state of the request."""
        state = self.conn.their_state
        if self._phase is h11.DONE and state is h11.SEND_BODY:
            return  # still draining a rejected body
        if state in (h11.IDLE, h11.SEND_BODY):
            if self._phase is not state:
                network = self.network
                self._start_timer(state, network.settings.header_timeout_s if state is h11.IDLE else network.grace_period_s)
        else:
            self._stop_timer()

    def _start_timer(self, phase: Any, seconds: float) -> None:
        self._stop_timer()
        self._phase, self._received, self._phase_start = phase, 0, self.loop.time()
        self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _stop_timer(self) -> None:
        self._phase = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        if self._phase is h11.SEND_BODY:
            if self.flow.read_paused:  # the server is not reading
                self._start_timer(h11.SEND_BODY, self.network.grace_period_s)
                return
            allowed_s = self.network.grace_period_s + self._received / (1000 * self.network.settings.min_upload_kb_s)
            remaining_s = self._phase_start + allowed_s - self.loop.time()
            if remaining_s > 0:
                self._timer = self.loop.call_later(remaining_s, self._on_timeout)
                return
        elif self._reserve and self._phase is h11.IDLE:
            self._reject()
            self.loop.call_later(WRITE_STALL_TIMEOUT_S, self.transport.abort)
            return
        self.transport.abort()

    def pause_writing(self) -> None:
        """Start the write timeout: the client reads more slowly than the server writes."""
        super().pause_writing()
        self._start_write_timer(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Stop the write timeout: the client has read."""
        super().resume_writing()
        self._stop_write_timer()

    def _start_write_timer(self, size: int) -> None:
        self._write_timer = self.loop.call_later(WRITE_STALL_TIMEOUT_S, self._check_write_progress, size)

    def _check_write_progress(self, size: int) -> None:
        new_size = self.transport.get_write_buffer_size()
        if new_size < size:
            self._start_write_timer(new_size)
        else:
            self.transport.abort()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def _probes_only(app: ASGIApp) -> ASGIApp:
    """Return an app for connections of the reserve: it serves probes and rejects all other requests with status 503."""

    async def probe_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PROBE_PATHS:
            await app(scope, receive, send)
            return
        headers = [tuple(line.split(b": ", 1)) for line in _FULL_HEADERS.split(b"\r\n") if line]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _FULL_BODY})

    return probe_app
