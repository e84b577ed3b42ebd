"""Around every request: its id, its line in the log, and the last net under exceptions that nobody expected."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline.requests import new_id

access = logging.getLogger("hunyuanocr.access")
log = logging.getLogger(__name__)

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # what may be echoed into headers and logs
_QUIET = {"/health", "/ready"}  # probes come every few seconds


class RequestContext:
    """Pure ASGI, so that streams and disconnects pass through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        given = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = given if _SANE.fullmatch(given) else new_id()
        began = time.perf_counter()
        status = 0

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = state["request_id"]
            await send(message)

        try:
            await self.app(scope, receive, stamped)
        except Exception as e:
            state["failure"] = e
            if status:  # the answer has begun: all that is left is to close the connection
                raise
            await answer(Request(scope), HunyuanOcrError("Something broke inside."))(scope, receive, stamped)
        finally:
            _write(scope, status, time.perf_counter() - began)


def _write(scope: Scope, status: int, seconds: float) -> None:
    failure = scope["state"].get("failure")
    if failure is not None:
        log.error("request %s failed", scope["state"]["request_id"], exc_info=failure)
    level = logging.DEBUG if scope["path"] in _QUIET and status < 400 else logging.INFO
    access.log(
        level, "%s %s %d %.0fms request=%s", scope["method"], scope["path"].encode("ascii", "backslashreplace").decode(),
        status, 1000 * seconds, scope["state"]["request_id"],
    )  # fmt: skip
