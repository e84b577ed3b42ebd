"""Authentication middleware for routes, mounted apps and WebSockets. It stores the identity in `scope["state"]["identity"]`."""

from __future__ import annotations

import re
import time
from urllib.parse import parse_qsl, urlencode

from starlette._utils import get_route_path
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth.authenticator import Authenticator, credential_from, uses_basic
from api.auth.identity import Identity
from api.auth.policy import ANONYMOUS, DEFAULT_POLICY, LOGIN_PAGES, RoutePolicy, policy_for
from api.auth.websocket import FirstMessageAuth, RevocationCheck
from api.errors import status_of
from api.network.middleware import client_host, reject
from hunyuanocr.errors import HunyuanOcrError, InvalidCredential, MissingScope, NotFound, Unauthorized

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

_RECHECK_AFTER_S = 1.0  # a response that begins later is not sent if its key was revoked meanwhile


class AuthMiddleware:
    """Pure ASGI middleware: the body of a rejected request is not read, and streams pass through unchanged."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self.app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request or WebSocket connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path = get_route_path(scope)
        is_websocket = scope["type"] == "websocket"
        policy = policy_for("WS" if is_websocket else scope["method"], path)
        scope.setdefault("state", {}).pop("identity", None)
        if policy.needs == ANONYMOUS:
            await self.app(scope, receive, send)
            return
        ticket = _take_ticket(scope) if is_websocket else None
        connection, identity = HTTPConnection(scope), None
        try:
            identity = await self._authenticator.authenticate(connection, ticket)
            _refuse_control_characters(path)
            self._authenticator.authorize(connection, identity, policy)
        except HunyuanOcrError as e:
            if is_websocket and type(e) is Unauthorized and policy is not DEFAULT_POLICY:
                await self._serve_first_message_auth(policy, scope, receive, send)
                return
            self._audit_rejection(e, policy, identity, scope)
            if type(e) is Unauthorized and path in LOGIN_PAGES and scope.get("method") == "GET" and _accepts_html(connection):
                await RedirectResponse(f"/login?next={path}", 303)(scope, receive, send)
                return
            await reject(scope, receive, send, e)
            return
        await self._serve(policy, identity, scope, receive, send)

    async def _serve_first_message_auth(self, policy: RoutePolicy, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket without credentials, which may authenticate in its first message."""
        auth = FirstMessageAuth(self._authenticator, policy, client_host(scope), receive, send)
        try:
            identity = await auth.identity()
        except HunyuanOcrError as e:
            self._audit_rejection(e, policy, None, scope)
            await auth.reject(e)
            return
        if identity is not None:
            await self._serve(policy, identity, scope, auth.receive, auth.send)

    async def _serve(self, policy: RoutePolicy, identity: Identity, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["identity"] = identity
        if scope["type"] == "websocket":
            self._audit(policy, identity, scope, 101)
            checked = RevocationCheck(self._authenticator, identity, receive, send)
            await self.app(scope, checked.receive, checked.send)
            return
        status, location, refused = 0, "", False
        began = time.monotonic()

        async def observing_send(message: Message) -> None:
            nonlocal status, location, refused
            if refused:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                if time.monotonic() - began > _RECHECK_AFTER_S and (error := await self._no_longer_valid(identity)) is not None:
                    refused, status = True, status_of(error)
                    await reject(scope, receive, send, error)
                    return
                location = dict(message.get("headers", [])).get(b"location", b"").decode("latin-1")
            await send(message)

        try:
            await self.app(scope, receive, observing_send)
        finally:
            self._audit(policy, identity, scope, status, location if status in (201, 202) else "")

    async def _no_longer_valid(self, identity: Identity) -> HunyuanOcrError | None:
        """Return the error if the credential was revoked or has expired while the request was waiting; None if it is valid."""
        try:
            valid = await self._authenticator.is_valid(identity)
        except HunyuanOcrError as e:
            return e
        return None if valid else InvalidCredential("The key or token has expired or was revoked.")

    def _audit(self, policy: RoutePolicy, identity: Identity, scope: Scope, status: int, location: str = "") -> None:
        """Write an audit log entry for the created resource, or for the requested path if nothing was created."""
        if policy.action is not None:
            state = scope["state"]
            what = location or state.get("created_resource") or get_route_path(scope)
            self._authenticator.audit_log.record(
                identity, policy.action, what, status=status, address=client_host(scope), request_id=state.get("request_id", "")
            )

    def _audit_rejection(self, error: HunyuanOcrError, policy: RoutePolicy, identity: Identity | None, scope: Scope) -> None:
        """Write an audit log entry for an invalid credential or a missing scope; requests without credentials are not logged."""
        if isinstance(error, (InvalidCredential, MissingScope)):
            self._authenticator.audit_log.record(
                identity,
                "refused",
                policy.path,
                status=401 if identity is None else 403,
                address=client_host(scope),
                request_id=scope["state"].get("request_id", ""),
            )


def _refuse_control_characters(path: str) -> None:
    """Raise NotFound for a path with a control character. The router ignores a line feed at the end; the policies do not."""
    if _CONTROL_CHARACTER.search(path):
        raise NotFound("The path contains a control character.", hint="Remove it from the URL, for example %0A, a line feed.")


def _take_ticket(scope: Scope) -> str | None:
    """Remove the ticket from the query string and return it. API keys are not accepted in a URL, which may be logged."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    tickets = [value for name, value in query if name == "ticket"]
    if not tickets:
        return None
    scope["query_string"] = urlencode([pair for pair in query if pair[0] != "ticket"]).encode()
    connection = HTTPConnection(scope)
    return tickets[-1] if credential_from(connection) is None or uses_basic(connection) else None


def _accepts_html(connection: HTTPConnection) -> bool:
    return "text/html" in connection.headers.get("accept", "")
