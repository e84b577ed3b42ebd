"""Who asks, whether that address may come in, and whether it comes too often. HTTP and WebSockets alike."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import answer
from api.network.addresses import Address, Networks, address_of, forwarded_for, share
from api.network.shared import Network
from hunyuanocr.errors import AddressRefused, HunyuanOcrError, TooManyRequests

UNKNOWN = "unknown"  # in place of an address: no address, so that no rule for one holds
PROBES = frozenset(["/health", "/ready"])
_HANDED_ON = ("x-forwarded-for", "forwarded", "x-real-ip")
_SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}}
AUTH_FAILED = "auth_failed"  # in the scope's state: this request came with a wrong credential, whatever its answer's status
_UNAUTHORIZED = 401
_CLOSED_FOR_KEY = frozenset([3000, 4401])  # "Unauthorized" in the IANA registry of close codes, and as many programs say it


class ClientAddress:
    """Puts the client's address, and the scheme that it used, into the scope. Only trusted proxies are believed about them.

    A program on this machine that hands on requests of others, and is not named as trusted, would make them look as if they
    came from here: whose they are is unknown then.
    """

    def __init__(self, app: ASGIApp, network: Network) -> None:
        self.app = app
        self.trusted = network.trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Correct the scope, in place."""
        if scope["type"] in _SCHEMES:
            self._correct(scope)
        await self.app(scope, receive, send)

    def _correct(self, scope: Scope) -> None:
        client = scope.get("client")
        peer = address_of(client[0]) if client else None
        headers = Headers(scope=scope)
        if peer is not None and peer in self.trusted:
            found = forwarded_for(headers.getlist("x-forwarded-for"), peer, self.trusted)
            elsewhere = found is not None and found.is_loopback and not peer.is_loopback  # on the proxy's machine, not on ours
            scope["client"] = (UNKNOWN if found is None or elsewhere else str(found), 0)
            given = headers.get("x-forwarded-proto", "").strip().lower()
            scope["scheme"] = _SCHEMES[scope["type"]].get(given, scope["scheme"])
        elif peer is not None and peer.is_loopback and any(name in headers for name in _HANDED_ON):
            scope["client"] = (UNKNOWN, 0)


class Doors:
    """Refuses addresses that may not come in, whatever they ask."""

    def __init__(self, app: ASGIApp, network: Network) -> None:
        self.app = app
        self.allow = Networks(network.settings.allow)
        self.deny = Networks(network.settings.deny)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] in _SCHEMES and self._shut(address_of(host_of(scope))):
            await refuse(scope, receive, send, AddressRefused("This address may not come in."))
            return
        await self.app(scope, receive, send)

    def _shut(self, address: Address | None) -> bool:
        if (self.allow or self.deny) and address is None:
            return True
        return address in self.deny or (bool(self.allow) and address not in self.allow)


class AddressRates:
    """Refuses addresses that come too often, or with too many wrong keys. Probes are not counted."""

    def __init__(self, app: ASGIApp, network: Network) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        if scope["type"] not in _SCHEMES or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        who = share(host_of(scope))
        try:
            await self.rates.address(who)
        except TooManyRequests as e:
            await refuse(scope, receive, send, e)
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
                await self.rates.failed(who)
            await send(message)

        return noted


class KeyRates:
    """Refuses keys that come too often, whatever the address. Stands where `state.identity` is known. Those who need no key
    are counted by their addresses alone: they would use up each other's share.
    """

    def __init__(self, app: ASGIApp, network: Network) -> None:
        self.app = app
        self.rates = network.rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request."""
        identity = scope.get("state", {}).get("identity")
        if identity is not None and identity.by != "local" and scope["path"] not in PROBES:
            try:
                await self.rates.key(f"{identity.owner}/{identity.name}")
            except TooManyRequests as e:
                await refuse(scope, receive, send, e)
                return
        await self.app(scope, receive, send)


def host_of(scope: Scope) -> str:
    """The client's address as the scope has it by now."""
    client = scope.get("client")
    return client[0] if client else UNKNOWN


async def refuse(scope: Scope, receive: Receive, send: Send, error: HunyuanOcrError) -> None:
    """Answer with the error; a WebSocket that is not open yet gets the same answer where the server can send one."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    await answer(HTTPConnection(scope), error)(scope, receive, send)
