"""The guard: stands around everything that an app serves, routes, mounts and sockets, and lets nobody through whom the gate does
not know. Behind it `scope["state"]["identity"]` says who asks.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.authenticator import Authenticator, credential_from
from api.auth.identity import Identity
from api.auth.login import PAGES
from api.auth.policy import ANONYMOUS, DEFAULT_POLICY, RoutePolicy, policy_for
from api.auth.websocket import FirstMessageAuth, RevocationCheck
from api.network.middleware import client_host, reject
from hunyuanocr.errors import HunyuanOcrError, InvalidCredential, MissingScope, Unauthorized


class AuthMiddleware:
    """Pure ASGI: nothing is read of a request that is refused, and streams pass through untouched."""

    def __init__(self, app: ASGIApp, gate: Authenticator) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request or one socket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path = get_route_path(scope)
        socket = scope["type"] == "websocket"
        door = policy_for("WS" if socket else scope["method"], path)
        scope.setdefault("state", {}).pop("identity", None)
        if door.needs == ANONYMOUS:
            await self.app(scope, receive, send)
            return
        ticket = _take_ticket(scope) if socket else None
        asked, identity = HTTPConnection(scope), None
        try:
            identity = await self.gate.authenticate(asked, ticket)
            self.gate.authorize(asked, identity, door)
        except HunyuanOcrError as e:
            if socket and type(e) is Unauthorized and door is not DEFAULT_POLICY:
                await self._when_named(door, scope, receive, send)
                return
            self._refused(e, door, identity, scope)
            if type(e) is Unauthorized and path in PAGES and scope.get("method") == "GET" and _reads_html(asked):
                await RedirectResponse(f"/login?next={path}", 303)(scope, receive, send)
                return
            await reject(scope, receive, send, e)
            return
        await self._let_in(door, identity, scope, receive, send)

    async def _when_named(self, door: RoutePolicy, scope: Scope, receive: Receive, send: Send) -> None:
        """A socket that brought nothing may say who it is in its first message."""
        asking = FirstMessageAuth(self.gate, door, client_host(scope), receive, send)
        try:
            identity = await asking.identity()
        except HunyuanOcrError as e:
            self._refused(e, door, None, scope)
            await asking.refuse(e)
            return
        if identity is not None:
            await self._let_in(door, identity, scope, asking.receive, asking.send)

    async def _let_in(self, door: RoutePolicy, identity: Identity, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["identity"] = identity
        if scope["type"] == "websocket":
            self._note(door, identity, scope, 101)
            watched = RevocationCheck(self.gate, identity, receive, send)
            await self.app(scope, watched.receive, watched.send)
            return
        status, place = 0, ""

        async def seen(message: Message) -> None:
            nonlocal status, place
            if message["type"] == "http.response.start":
                status = message["status"]
                place = dict(message.get("headers", [])).get(b"location", b"").decode("latin-1")
            await send(message)

        try:
            await self.app(scope, receive, seen)
        finally:
            self._note(door, identity, scope, status, place if status in (201, 202) else "")

    def _note(self, door: RoutePolicy, identity: Identity, scope: Scope, status: int, place: str = "") -> None:
        """A line in the audit log, with the address of what was made where there is one."""
        if door.action is not None:
            state = scope["state"]
            what = place or state.get("made") or get_route_path(scope)
            self.gate.audit_log.record(
                identity, door.action, what, status=status, address=client_host(scope), request_id=state.get("request_id", "")
            )

    def _refused(self, error: HunyuanOcrError, door: RoutePolicy, identity: Identity | None, scope: Scope) -> None:
        """Whoever brings something bad, or wants more than he may, is in the log; whoever merely knocks is not."""
        if isinstance(error, (InvalidCredential, MissingScope)):
            self.gate.audit_log.record(
                identity, "refused", door.path, status=401 if identity is None else 403, address=client_host(scope),
                request_id=scope["state"].get("request_id", ""),
            )  # fmt: skip


def _take_ticket(scope: Scope) -> str | None:
    """The ticket of an address, which those behind the guard do not see. Lasting keys have no place there."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    tickets = [value for name, value in query if name == "ticket"]
    if not tickets:
        return None
    scope["query_string"] = urlencode([pair for pair in query if pair[0] != "ticket"]).encode()
    return tickets[-1] if credential_from(HTTPConnection(scope)) is None else None


def _reads_html(asked: HTTPConnection) -> bool:
    return "text/html" in asked.headers.get("accept", "")
