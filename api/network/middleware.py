"""Middleware for client addresses, access lists and rate limits, for HTTP and WebSockets."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import error_response
from api.network.ip import Address, NetworkSet, client_ip_from_forwarded, parse_ip, rate_limit_key
from api.network.limits import NetworkLimits
from hunyuanocr.errors import HunyuanOcrError, IpNotAllowed, TooManyRequests

UNKNOWN_CLIENT = "unknown"  # replaces an unknown address; not a valid address, so that no rule matches it
PROBE_PATHS = frozenset(["/health", "/ready"])
_FORWARDING_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip")
_SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}}
AUTH_FAILED = "auth_failed"  # key in the scope's state: authentication failed, whatever the status of the response
_UNAUTHORIZED = 401
_UNAUTHORIZED_CLOSE_CODES = frozenset(
    [3000, 4401]
)  # close codes for "unauthorized": the IANA registry's, and a common private one


class ProxyHeadersMiddleware:
    """Sets the client address and the URL scheme in the scope. Forwarding headers count only if they come from trusted proxies.

    Requests that an untrusted proxy on this computer forwards appear to be local. Their client address is set to unknown.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.trusted = network.trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the scope in place and call the app."""
        if scope["type"] in _SCHEMES:
            self._correct(scope)
        await self.app(scope, receive, send)

    def _correct(self, scope: Scope) -> None:
        client = scope.get("client")
        peer = parse_ip(client[0]) if client else None
        headers = Headers(scope=scope)
        if peer is not None and peer in self.trusted:
            client_ip = client_ip_from_forwarded(headers.getlist("x-forwarded-for"), peer, self.trusted)
            remote_loopback = client_ip is not None and client_ip.is_loopback and not peer.is_loopback  # loopback of the proxy
            scope["client"] = (UNKNOWN_CLIENT if client_ip is None or remote_loopback else str(client_ip), 0)
            scheme = headers.get("x-forwarded-proto", "").strip().lower()
            scope["scheme"] = _SCHEMES[scope["type"]].get(scheme, scope["scheme"])
        elif peer is not None and peer.is_loopback and any(name in headers for name in _FORWARDING_HEADERS):
            scope["client"] = (UNKNOWN_CLIENT, 0)


class IpFilterMiddleware:
    """Rejects client addresses that the access lists do not allow, on all routes."""

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.allow = NetworkSet(network.settings.allow)
        self.deny = NetworkSet(network.settings.deny)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request."""
        if scope["type"] in _SCHEMES and self._is_blocked(parse_ip(client_host(scope))):
            await reject(scope, receive, send, IpNotAllowed("Client address is not allowed."))
            return
        await self.app(scope, receive, send)

    def _is_blocked(self, address: Address | None) -> bool:
        if (self.allow or self.deny) and address is None:
            return True
        return address in self.deny or (bool(self.allow) and address not in self.allow)


class IpRateLimitMiddleware:
    """Rejects addresses with too many requests or failed authentications per minute. Probes are not counted."""

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request."""
        if scope["type"] not in _SCHEMES or scope["path"] in PROBE_PATHS:
            await self.app(scope, receive, send)
            return
        client = rate_limit_key(client_host(scope))
        try:
            await self.rates.check_ip(client)
        except TooManyRequests as e:
            await reject(scope, receive, send, e)
            return
        state = scope.setdefault("state", {})
        state.pop(AUTH_FAILED, None)
        await self.app(scope, receive, self._count_failures(client, state, send))

    def _count_failures(self, client: str, state: dict[str, Any], send: Send) -> Send:
        async def counting_send(message: Message) -> None:
            rejected = message.get("status") == _UNAUTHORIZED or (
                message["type"] == "websocket.close" and message.get("code") in _UNAUTHORIZED_CLOSE_CODES
            )
            failed = state.pop(AUTH_FAILED, False)  # count it once
            if rejected or failed:
                await self.rates.count_auth_failure(client)
            await send(message)

        return counting_send


class KeyRateLimitMiddleware:
    """Rejects keys with too many requests per minute, whatever the address. Runs after authentication.

    Clients without a key are limited by address only: they share one identity and would use up each other's limit.
    """

    def __init__(self, app: ASGIApp, network: NetworkLimits) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or reject one request."""
        identity = scope.get("state", {}).get("identity")
        if identity is not None and identity.method != "local" and scope["path"] not in PROBE_PATHS:
            try:
                await self.rates.check_key(f"{identity.owner}/{identity.name}")
            except TooManyRequests as e:
                await reject(scope, receive, send, e)
                return
        await self.app(scope, receive, send)


def client_host(scope: Scope) -> str:
    """Return the client address in the scope, or `UNKNOWN_CLIENT`."""
    client = scope.get("client")
    return client[0] if client else UNKNOWN_CLIENT


async def reject(scope: Scope, receive: Receive, send: Send, error: HunyuanOcrError) -> None:
    """Send the error as response. An unopened WebSocket gets it too, if the server supports it, or is closed otherwise."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    await error_response(HTTPConnection(scope), error)(scope, receive, send)
