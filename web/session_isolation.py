"""Around Gradio: what of it is served at all, and to whom an open page belongs.

Gradio finds the state, the events and the results of an open page by a word that the browser makes up, its `session_hash`, and
gives them to anybody who sends that word. Here the fingerprint of the identity is put before it: the same word of two people is
two words.
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

MAX_NAME_BYTES = 255  # of a file on Linux; Gradio asks the file system, which raises for longer ones
OPEN_PAGES = "open_pages"  # in the state of an event's request


class GradioIsolationMiddleware:
    """Pure ASGI. Gradio has routes for files, uploads, proxies, recordings and more; only those that the page uses are served, to
    nobody any other. None of them gets a query, and events are checked before Gradio sees them.
    """

    def __init__(self, app: ASGIApp, schema: EventSchema, pages: OpenPages) -> None:
        self.app = app
        self.schema = schema
        self.pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises BadRequest, ImageTooLarge, QueueFull, and HTTPException (404, 405) for what is not served."""
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
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-forwarded-host"]  # Gradio would believe it
        scope = {**scope, "query_string": b"", "headers": headers}
        if path == JOIN:
            await self._join(scope, receive, send)
        elif path.startswith(HEARTBEAT):
            await self._heartbeat(scope, path.removeprefix(HEARTBEAT), receive, send)
        else:
            await self.app(scope, receive, send)

    async def _heartbeat(self, scope: Scope, word: str, receive: Receive, send: Send) -> None:
        page = own_page_id(scope, word)
        with self.pages.connected(page, listens=False):
            await self.app({**scope, "path": scope["path"].removesuffix(word) + page}, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = _stream_page(scope)
        query = urlencode({"session_hash": page}).encode()
        try:
            with self.pages.connected(page, listens=True):
                await self.app({**scope, "query_string": query}, receive, send)
        except RuntimeError as e:
            if not isinstance(e.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body", "body": b""})  # the stream has said already that there is no such page

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = parse_json_object(await limit_body(Request(scope, receive), MAX_EVENT_BYTES).body(), "event", HINT)
        event = self.schema.check(sent)
        page = event["session_hash"] = own_page_id(scope, event["session_hash"])
        scope["state"][OPEN_PAGES] = self.pages
        async with self.pages.joining(page):
            await self.app(scope, _body(json.dumps(event).encode(), receive), send)


def own_page_id(scope: Scope, word: object) -> str:
    """The page's id for Gradio: the identity's fingerprint before the browser's word. Raises BadRequest."""
    fingerprint: str = scope["state"]["identity"].fingerprint
    return f"{fingerprint}.{page_id(word)}"


def _stream_page(scope: Scope) -> str:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    words = [value for name, value in query if name == "session_hash"]
    if len(words) != 1:
        raise BadRequest("Which page's events?", hint=HINT)
    return own_page_id(scope, words[0])


def _body(data: bytes, receive: Receive) -> Receive:
    """A `receive` that gives this body, and then what the client sends: that it is gone."""
    body: list[Message] = [{"type": "http.request", "body": data, "more_body": False}]

    async def replaced() -> Message:
        return body.pop() if body else await receive()

    return replaced
