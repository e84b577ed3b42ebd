"""Around Gradio: what of it is served at all, and to whom an open page belongs.

Gradio finds the state, the events and the results of an open page by a word that the browser makes up, its `session_hash`, and
hands them to whoever says that word. Here the mark of whoever asks is put before it: the same word of two people is two words.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.jsons import json_object
from api.reading import limited
from hunyuanocr.errors import BadRequest

_JOIN, _EVENTS, _HEARTBEAT = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/heartbeat/"
_SAME = "/gradio_api/app_id"  # an open page that has lost the program asks whether it is the same one again
_SERVED = frozenset({_JOIN, _EVENTS, _SAME})
_WORD = re.compile(r"[\w-]{1,64}", re.ASCII)
_LONGEST = 1024 * 1024  # bytes of an event: an instruction, a token
_HINT = "Open the page again."


class OwnPages:
    """Pure ASGI. Of `/gradio_api/`, which has files, uploads, proxies and recordings too, nothing but what the page uses is
    served, not to administrators either.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises BadRequest, ImageTooLarge, and HTTPException (404) for what is not served."""
        path = get_route_path(scope)
        if scope["type"] == "http" and path.startswith("/gradio_api"):
            if path.startswith(_HEARTBEAT):
                scope = _heartbeat(scope, path)
            elif path not in _SERVED:
                raise HTTPException(404)
            elif path == _EVENTS:
                await self._tell(_events(scope), receive, send)
                return
            elif path == _JOIN and scope["method"] == "POST":
                receive = await _join(scope, receive)
        await self.app(scope, receive, send)

    async def _tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except RuntimeError as e:
            if not isinstance(e.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body", "body": b""})  # the stream has said already that there is no such page


def _heartbeat(scope: Scope, path: str) -> Scope:
    word = path.removeprefix(_HEARTBEAT)
    return {**scope, "path": scope["path"].removesuffix(word) + _own(scope, word)}


def _events(scope: Scope) -> Scope:
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    words = [value for name, value in query if name == "session_hash"]
    if len(words) != 1:
        raise BadRequest("Which page's events?", hint=_HINT)
    return {**scope, "query_string": urlencode({"session_hash": _own(scope, words[0])}).encode()}


async def _join(scope: Scope, receive: Receive) -> Receive:
    event = json_object(await limited(Request(scope, receive), _LONGEST).body(), "event", _HINT)
    event["session_hash"] = _own(scope, event.get("session_hash"))
    body: list[Message] = [{"type": "http.request", "body": json.dumps(event).encode(), "more_body": False}]

    async def marked() -> Message:
        return body.pop() if body else await receive()

    return marked


def _own(scope: Scope, word: object) -> str:
    """The word of whoever asks. Raises BadRequest for what no browser makes up."""
    if not isinstance(word, str) or not _WORD.fullmatch(word):
        raise BadRequest("This is no page of ours.", hint=_HINT)
    mark: str = scope["state"]["identity"].mark
    return f"{mark}.{word}"
