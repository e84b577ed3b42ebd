"""Authentication of WebSockets in the first message, and disconnection when a credential is revoked."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from starlette.types import Message, Receive, Send

from api.auth.authenticator import Authenticator
from api.auth.identity import Identity
from api.auth.policy import RoutePolicy
from api.errors import websocket_error
from api.network.ip import rate_limit_key
from hunyuanocr.errors import HunyuanOcrError, InvalidCredential, MissingScope, QueueFull, Unauthorized
from hunyuanocr.ids import new_id

UNAUTHORIZED = 3000  # close codes of the IANA registry
FORBIDDEN = 3003
_TRY_AGAIN_LATER = 1013
_MAX_MESSAGE_LENGTH = 16 * 1024  # characters of the authentication message


class FirstMessageAuth:
    """A WebSocket that authenticates in its first message. Afterwards, `receive` and `send` serve the app."""

    def __init__(self, authenticator: Authenticator, policy: RoutePolicy, address: str, receive: Receive, send: Send) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._address = rate_limit_key(address)
        self._receive = receive
        self._send = send
        self._connected = self._accepted = False

    async def identity(self) -> Identity | None:
        """Accept the WebSocket and wait for `{"type": "auth", "key": …}` or `{"type": "auth", "ticket": …}`.

        Returns None if the client disconnects. Raises Unauthorized, InvalidCredential, MissingScope, QueueFull, StoreUnavailable.
        """
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept"})
        pending, limits = self._authenticator.pending_sockets, self._authenticator.socket_limits
        if pending.total() >= limits.pending or pending[self._address] >= limits.pending_per_client:
            raise QueueFull("Too many connections have not authenticated yet.")
        pending[self._address] += 1
        try:
            async with asyncio.timeout(limits.timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise Unauthorized("No credential was received in time.") from None
        finally:
            pending.subtract((self._address,))
            pending += Counter()  # removes entries that are zero
        if message["type"] == "websocket.disconnect":
            return None
        identity = await self._authenticate(message.get("text"))
        self._authenticator.require_scope(identity, self._policy)
        await self._send({"type": "websocket.send", "text": json.dumps({"type": "authenticated", "owner": identity.owner})})
        return identity

    async def _authenticate(self, text: str | None) -> Identity:
        try:
            values = json.loads(text) if text is not None and len(text) <= _MAX_MESSAGE_LENGTH else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("type") != "auth":
            raise Unauthorized(
                "Authentication required.", hint='Send {"type": "auth", "key": "…"} first, or the header X-API-Key.'
            )
        key, ticket = values.get("key"), values.get("ticket")
        identity = None
        if isinstance(key, str):
            identity = await self._authenticator.identity_from_token(key)
        elif isinstance(ticket, str):
            identity = await self._authenticator.identity_from_ticket(ticket)
        if identity is None:
            raise InvalidCredential("The key, token or ticket is invalid, expired or revoked.")
        return identity

    async def reject(self, error: HunyuanOcrError) -> None:
        """Report the error and close the connection."""
        await _close_with_error(self._send, error)

    async def receive(self) -> Message:
        """Return the next message; the first one is `websocket.connect`, which the app expects."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Send a message, except the app's `websocket.accept`: the connection is already open."""
        if message["type"] == "websocket.accept" and not self._accepted:
            self._accepted = True
            return
        await self._send(message)


class RevocationCheck:
    """An open WebSocket that is closed at its next message after its key or token has expired or was revoked."""

    def __init__(self, authenticator: Authenticator, identity: Identity, receive: Receive, send: Send) -> None:
        self._authenticator = authenticator
        self._identity = identity
        self._receive = receive
        self._send = send
        self._closed = False

    async def receive(self) -> Message:
        """Return the next message, or a disconnect if the identity is no longer valid."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        try:
            if await self._authenticator.is_valid(self._identity):
                return message
            error: HunyuanOcrError = InvalidCredential("The key or token has expired or was revoked.")
        except HunyuanOcrError as e:
            error = e
        await _close_with_error(self._send, error)
        self._closed = True
        return {"type": "websocket.disconnect", "code": UNAUTHORIZED}

    async def send(self, message: Message) -> None:
        """Send a message. Raises OSError after the connection was closed."""
        if self._closed:
            raise OSError("the socket is closed")  # as ASGI servers do; Starlette turns it into WebSocketDisconnect
        await self._send(message)


async def _close_with_error(send: Send, error: HunyuanOcrError) -> None:
    code = UNAUTHORIZED if isinstance(error, Unauthorized) else FORBIDDEN if isinstance(error, MissingScope) else _TRY_AGAIN_LATER
    await send({"type": "websocket.send", "text": websocket_error(error, new_id())})
    await send({"type": "websocket.close", "code": code, "reason": error.code})
