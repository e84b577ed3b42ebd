"""How many bytes of bodies may come, of one request and of all that are being served."""

from __future__ import annotations

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.network.ip import rate_limit_key
from api.network.limits import NetworkLimits
from api.network.middleware import client_host
from hunyuanocr.errors import ImageTooLarge, UploadBudgetExceeded

TAKE_PICTURES = frozenset({"/ocr", "/v1/ocr", "/v1/jobs", "/v1/chat/completions", "/page/uploads"})
MAX_PLAIN_BYTES = 128 * 1024  # of a body without pictures: FastAPI parses it in the event loop; an event of the page has as many


class BodyLimitMiddleware:
    """Counts bytes as they come, whatever the request says of its length; they are held until it is answered.

    Routes have limits of their own; this one holds also for those that leave the reading to a framework.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.network = network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held = _BodyCounter(self.network, receive, scope, self._max_bytes(get_route_path(scope)))
        try:
            await self.app(scope, held.receive, send)
        finally:
            held.release()

    def _max_bytes(self, path: str) -> int:
        if path.startswith("/v1/batch"):
            return self.network.max_batch_bytes
        return self.network.max_request_bytes if path in TAKE_PICTURES else MAX_PLAIN_BYTES


class _BodyCounter:
    """The bytes of one request."""

    def __init__(self, network: NetworkLimits, receive: Receive, scope: Scope, most: int) -> None:
        self._budget = network.budget
        self._receive = receive
        self._state = scope.setdefault("state", {})
        self._who = rate_limit_key(client_host(scope))
        self._most = most
        self._count = 0

    async def receive(self) -> Message:
        """The next message. Raises ImageTooLarge and UploadsFull. Bytes that are thrown away (`discarding`) do not count."""
        message = await self._receive()
        size = len(message.get("body", b""))
        if not size or self._state.get("discarding"):
            return message
        if self._count + size > self._most:
            raise ImageTooLarge(f"The request has more than {self._most} bytes.")
        if not self._budget.acquire(self._who, size):
            raise UploadBudgetExceeded("Too many bytes are being uploaded already.", retry_after=2.0)
        self._count += size
        return message

    def release(self) -> None:
        """The request is over."""
        self._budget.release(self._who, self._count)
        self._count = 0
