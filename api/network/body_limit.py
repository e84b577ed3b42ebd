"""Limits on the size of request bodies: of one request, and of all requests in progress."""

from __future__ import annotations

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.network.ip import rate_limit_key
from api.network.limits import NetworkLimits
from api.network.middleware import client_host
from hunyuanocr.errors import ImageTooLarge, UploadBudgetExceeded

IMAGE_PATHS = frozenset({"/ocr", "/v1/ocr", "/v1/jobs", "/v1/chat/completions", "/page/uploads"})
MAX_PLAIN_BYTES = 128 * 1024  # a body without images, which FastAPI parses in the event loop; the web page's events are as large


class BodyLimitMiddleware:
    """Counts received bytes, whatever `Content-Length` is, and reserves them in the upload budget until the response is sent.

    Routes have their own limits. This one also covers routes that let the framework read the body.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.network = network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        counter = _BodyCounter(self.network, receive, scope, self._max_bytes(get_route_path(scope)))
        try:
            await self.app(scope, counter.receive, send)
        finally:
            counter.release()

    def _max_bytes(self, path: str) -> int:
        if path.startswith("/v1/batch"):
            return self.network.max_batch_bytes
        return self.network.max_request_bytes if path in IMAGE_PATHS else MAX_PLAIN_BYTES


class _BodyCounter:
    """Counts the body bytes of one request."""

    def __init__(self, network: NetworkLimits, receive: Receive, scope: Scope, max_bytes: int) -> None:
        self._budget = network.budget
        self._receive = receive
        self._state = scope.setdefault("state", {})
        self._client_key = rate_limit_key(client_host(scope))
        self._max_bytes = max_bytes
        self._count = 0

    async def receive(self) -> Message:
        """Return the next message. Discarded bytes (`discarding`) do not count. Raises ImageTooLarge, UploadBudgetExceeded."""
        message = await self._receive()
        size = len(message.get("body", b""))
        if not size or self._state.get("discarding"):
            return message
        if self._count + size > self._max_bytes:
            raise ImageTooLarge(f"Request body exceeds {self._max_bytes} bytes.")
        if not self._budget.acquire(self._client_key, size):
            raise UploadBudgetExceeded("Upload memory limit reached.", retry_after=2.0)
        self._count += size
        return message

    def release(self) -> None:
        """Release the bytes, after the request has ended."""
        self._budget.release(self._client_key, self._count)
        self._count = 0
