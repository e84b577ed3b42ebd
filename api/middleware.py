"""Request id, access log, request metrics and handling of unexpected exceptions, for every request."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from api.errors import error_response
from hunyuanocr import log_setup
from hunyuanocr.errors import BackendUnavailable, from_unexpected
from hunyuanocr.ids import new_id
from hunyuanocr.services.container import Services

access = logging.getLogger("hunyuanocr.access")
log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # safe in headers and logs
_SLASHES = re.compile("/{2,}")
_API_PATH = re.compile(r"/(?:ocr|ws/ocr|health|ready|version|metrics|docs|openapi\.json|v1/.+)", re.DOTALL)
_QUIET = {"/health", "/ready", "/metrics"}  # requested every few seconds
_PROBE_PATHS = {"/health", "/metrics"}  # answered during shutdown too


class PathMiddleware:
    """Corrects paths of the API that clients compose from a base URL and a route: `//ocr`, `/v1//jobs` and `/ocr/`.

    It runs first, so that all layers below use the same path: access policies, limits, the audit log and the router.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the path in the scope and call the app."""
        if scope["type"] in ("http", "websocket"):
            path = _SLASHES.sub("/", scope["path"]).rstrip("/")
            if path != scope["path"] and _API_PATH.fullmatch(path):
                scope["path"] = path
        await self.app(scope, receive, send)


class RequestContext:
    """Pure ASGI, so that streams and disconnects pass through unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        sent = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = sent if _REQUEST_ID.fullmatch(sent) else new_id()
        services: Services = scope["app"].state.services
        with log_setup.request_context(state["request_id"]):
            if scope["type"] == "http":
                await self._respond(services, scope, receive, send)
            elif services.draining:
                refusal = error_response(Request({**scope, "type": "http"}), _draining())
                await WebSocket(scope, receive, send).send_denial_response(refusal)
            else:
                await self.app(scope, receive, send)

    async def _respond(self, services: Services, scope: Scope, receive: Receive, send: Send) -> None:
        state, app = scope["state"], scope["app"]
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = state["request_id"]
            await send(message)

        try:
            with services.metrics.in_flight():
                if services.draining and scope["path"] not in _PROBE_PATHS:
                    refusal = error_response(Request(scope), _draining())
                    refusal.headers["Connection"] = "close"
                    await refusal(scope, receive, send_with_id)
                else:
                    await self.app(scope, receive, send_with_id)
        except Exception as e:
            state["failure"] = e
            if status:  # the response has started: the connection can only be closed
                raise
            await error_response(Request(scope), from_unexpected(e))(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            services.metrics.answered(scope["method"], getattr(scope.get("route"), "path", None), status, seconds)
            _log_access(scope, status, seconds, page=scope["app"] is not app)


def _draining() -> BackendUnavailable:
    return BackendUnavailable("The appliance is shutting down.")


def _log_access(scope: Scope, status: int, seconds: float, *, page: bool) -> None:
    """Write the access log. `page`: answered by the mounted page, from which browsers request about 100 files a minute."""
    failure = scope["state"].get("failure")
    if failure is not None:
        log.error("request %s failed", scope["state"]["request_id"], exc_info=failure)
    level = logging.DEBUG if (page or scope["path"] in _QUIET) and status < 400 else logging.INFO
    path = scope["path"].encode("ascii", "backslashreplace").decode()
    access.log(
        level,
        "%s %s %d %.0fms request=%s",
        scope["method"],
        path,
        status,
        1000 * seconds,
        scope["state"]["request_id"],
        extra={"fields": {"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 1)}},
    )
