"""Middleware around Gradio: serve only the routes that the page uses, and isolate the pages of different identities.

Gradio stores state, events and results of an open page under its `session_hash`, which the browser chooses, and returns them to
any client that sends the same value. The middleware prefixes it with the fingerprint of the identity, so that equal values of two
identities name two pages.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from api.request_body import limit_body, parse_json_object
from hunyuanocr.errors import BadRequest
from web.gradio_events import HEARTBEAT, HINT, JOIN, MAX_EVENT_BYTES, STREAM, EventSchema, allowed_methods, page_id
from web.open_pages import OpenPages

MAX_NAME_BYTES = 255  # of a file on Linux; Gradio passes the path to the file system, which raises for longer names
OPEN_PAGES = "open_pages"  # key in the request state of an event


class GradioIsolationMiddleware:
    """ASGI middleware that serves only the routes of Gradio that the page uses, not those for files, uploads, proxies and more.

    Query strings are removed, and events are validated before Gradio receives them.
    """

    def __init__(self, app: ASGIApp, schema: EventSchema, pages: OpenPages) -> None:
        self.app = app
        self.schema = schema
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raise BadRequest, ImageTooLarge, QueueFull, or HTTPException (404, 405) for other routes."""
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = get_route_path(scope)
        if any(len(part.encode("utf-8", "replace")) > MAX_NAME_BYTES for part in path.split("/")):
            raise HTTPException(404)
        methods = allowed_methods(path)
        if scope["method"] not in methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))}) if methods else HTTPException(404)
        if path == STREAM:
            await self._stream(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-host"]  # Gradio trusts it
        scope = {**scope, "query_string": b"", "headers": headers}
        if path == JOIN:
            await self._join(scope, receive, send)
        elif path.startswith(HEARTBEAT):
            await self._heartbeat(scope, path.removeprefix(HEARTBEAT), receive, send)
        else:
            await self.app(scope, receive, send)

    async def _heartbeat(self, scope: Scope, session_hash: str, receive: Receive, send: Send) -> None:
        page = own_page_id(scope, session_hash)
        with self.pages.connected(page, listens=False):
            await self.app({**scope, "path": scope["path"].removesuffix(session_hash) + page}, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = _stream_page(scope)
        query = urlencode({"session_hash": page}).encode()
        try:
            with self.pages.connected(page, listens=True):
                await self.app({**scope, "query_string": query}, receive, send)
        except RuntimeError as e:
            if not isinstance(e.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body", "body": b""})  # the stream has already reported that the page is unknown

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        payload = parse_json_object(await limit_body(Request(scope, receive), MAX_EVENT_BYTES).body(), "event", HINT)
        event = self.schema.check(payload)
        page = event["session_hash"] = own_page_id(scope, event["session_hash"])
        scope["state"][OPEN_PAGES] = self.pages
        async with self.pages.joining(page):
            await self.app(scope, _body(json.dumps(event).encode(), receive), send)


def own_page_id(scope: Scope, session_hash: object) -> str:
    """Return the page id for Gradio: the fingerprint of the identity, a dot, the `session_hash`. Raise BadRequest."""
    fingerprint: str = scope["state"]["identity"].fingerprint
    return f"{fingerprint}.{page_id(session_hash)}"


def _stream_page(scope: Scope) -> str:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    hashes = [value for name, value in query if name == "session_hash"]
    if len(hashes) != 1:
        raise BadRequest("Exactly one session_hash is required.", hint=HINT)
    return own_page_id(scope, hashes[0])


def _body(data: bytes, receive: Receive) -> Receive:
    """Return a `receive` that yields this body and then the messages of the client (the disconnect)."""
    body: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive_body() -> Message:
        return body.pop() if body else await receive()

    return receive_body
