"""Who asks, whether that address may come in, and whether it comes too often. HTTP and WebSockets alike."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from api.network.ip import Address, NetworkSet, client_ip_from_forwarded, parse_ip, rate_limit_key
from api.network.limits import NetworkLimits
from hunyuanocr.errors import HunyuanOcrError, IpNotAllowed, TooManyRequests

UNKNOWN_CLIENT = "unknown"  # in place of an address: no address, so that no rule for one holds
PROBE_PATHS = frozenset(["/health", "/ready"])
_HANDED_ON = ("x-forwarded-for", "forwarded", "x-real-ip")
_SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}}
AUTH_FAILED = "auth_failed"  # in the scope's state: this request came with a wrong credential, whatever its answer's status
_UNAUTHORIZED = 401
_CLOSED_FOR_KEY = frozenset([3000, 4401])  # "Unauthorized" in the IANA registry of close codes, and as many programs say it


class ProxyHeadersMiddleware:
    """Puts the client's address, and the scheme that it used, into the scope. Only trusted proxies are believed about them.

    A program on this machine that hands on requests of others, and is not named as trusted, would make them look as if they
    came from here: whose they are is unknown then.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.trusted = network.trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the scope, in place."""
        if scope["type"] in _SCHEMES:
            self._correct(scope)
        await self.app(scope, receive, send)

    def _correct(self, scope: Scope) -> None:
        client = scope.get("client")
        peer = parse_ip(client[0]) if client else None
        headers = Headers(scope=scope)
        if peer is not None and peer in self.trusted:
            found = client_ip_from_forwarded(headers.getlist("x-forwarded-for"), peer, self.trusted)
            elsewhere = found is not None and found.is_loopback and not peer.is_loopback  # on the proxy's machine, not on ours
            scope["client"] = (UNKNOWN_CLIENT if found is None or elsewhere else str(found), 0)
            given = headers.get("x-forwarded-proto", "").strip().lower()
            scope["scheme"] = _SCHEMES[scope["type"]].get(given, scope["scheme"])
        elif peer is not None and peer.is_loopback and any(name in headers for name in _HANDED_ON):
            scope["client"] = (UNKNOWN_CLIENT, 0)


class IpFilterMiddleware:
    """Refuses addresses that may not come in, whatever they ask."""

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.allow = NetworkSet(network.settings.allow)
        self.deny = NetworkSet(network.settings.deny)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] in _SCHEMES and self._shut(parse_ip(client_host(scope))):
            await reject(scope, receive, send, IpNotAllowed("This address may not come in."))
            return
        await self.app(scope, receive, send)

    def _shut(self, address: Address | None) -> bool:
        if (self.allow or self.deny) and address is None:
            return True
        return address in self.deny or (bool(self.allow) and address not in self.allow)


class IpRateLimitMiddleware:
    """Refuses addresses that come too often, or with too many wrong keys. Probes are not counted."""

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] not in _SCHEMES or scope["path"] in PROBE_PATHS:
            await self.app(scope, receive, send)
            return
        who = rate_limit_key(client_host(scope))
        try:
            await self.rates.check_ip(who)
        except TooManyRequests as e:
            await reject(scope, receive, send, e)
            return
        state = scope.setdefault("state", {})
        state.pop(AUTH_FAILED, None)
        await self.app(scope, receive, self._noting(who, state, send))

    def _noting(self, who: str, state: dict[str, Any], send: Send) -> Send:
        async def noted(message: Message) -> None:
            refused = message.get("status") == _UNAUTHORIZED or (
                message["type"] == "websocket.close" and message.get("code") in _CLOSED_FOR_KEY
            )
            failed = state.pop(AUTH_FAILED, False)  # at the first message only
            if refused or failed:
                await self.rates.count_auth_failure(who)
            await send(message)

        return noted


class KeyRateLimitMiddleware:
    """Refuses keys that come too often, whatever the address. Stands where `state.identity` is known. Those who need no key
    are counted by their addresses alone: they would use up each other's share.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        identity = scope.get("state", {}).get("identity")
        if identity is not None and identity.method != "local" and scope["path"] not in PROBE_PATHS:
            try:
                await self.rates.check_key(f"{identity.owner}/{identity.name}")
            except TooManyRequests as e:
                await reject(scope, receive, send, e)
                return
        await self.app(scope, receive, send)


def client_host(scope: Scope) -> str:
    """The client's address as the scope has it by now."""
    client = scope.get("client")
    return client[0] if client else UNKNOWN_CLIENT


async def reject(scope: Scope, receive: Receive, send: Send, error: HunyuanOcrError) -> None:
    """Answer with the error; a WebSocket that is not open yet gets the same answer where the server can send one."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    await error_response(HTTPConnection(scope), error)(scope, receive, send)
