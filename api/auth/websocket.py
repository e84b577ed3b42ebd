"""Sockets and their keys: one that brought none says it in its first message; one whose key is revoked ends."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from starlette.types import Message, Receive, Send

from api.auth.authenticator import Authenticator
from api.auth.identity import Identity
from api.auth.policy import RoutePolicy
from api.camera_protocol import encode_reply
from api.network.ip import rate_limit_key
from hunyuanocr.errors import HunyuanOcrError, InvalidCredential, MissingScope, QueueFull, Unauthorized
from hunyuanocr.services.camera import FrameFailed

UNAUTHORIZED = 3000  # the IANA registry of WebSocket close codes
FORBIDDEN = 3003
_TRY_AGAIN_LATER = 1013
_AUTH_TIMEOUT_S = 10.0
_MAX_LENGTH = 16 * 1024  # characters of a message with a key
_MAX_PENDING, _MAX_PENDING_PER_CLIENT = (
    128,
    16,
)  # sockets that have not said yet who they are: all of them, and those of one address


class FirstMessageAuth:
    """A socket before it is known whose it is. Once it is, `receive` and `send` are the socket for those behind the guard."""

    def __init__(self, gate: Authenticator, door: RoutePolicy, address: str, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._door = door
        self._address = rate_limit_key(address)
        self._receive = receive
        self._send = send
        self._connected = self._accepted = False

    async def identity(self) -> Identity | None:
        """Open the socket and wait for `{"type": "auth", "key": …}`; None when it goes away meanwhile.

        `ticket` does as well as `key`. Raises Unauthorized, BadKey, MissingScope, QueueFull, StoreUnavailable.
        """
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept"})
        unnamed = self._gate.pending_sockets
        if unnamed.total() >= _MAX_PENDING or unnamed[self._address] >= _MAX_PENDING_PER_CLIENT:
            raise QueueFull("Too many connections have not said yet who they are.")
        unnamed[self._address] += 1
        try:
            async with asyncio.timeout(_AUTH_TIMEOUT_S):
                message = await self._receive()
        except TimeoutError:
            raise Unauthorized("No key came in time.") from None
        finally:
            unnamed.subtract((self._address,))
            unnamed += Counter()  # without those of which there is none any more
        if message["type"] == "websocket.disconnect":
            return None
        identity = await self._named(message.get("text"))
        self._gate.require_scope(identity, self._door)
        await self._send({"type": "websocket.send", "text": json.dumps({"type": "authenticated", "owner": identity.owner})})
        return identity

    async def _named(self, text: str | None) -> Identity:
        try:
            values = json.loads(text) if text is not None and len(text) <= _MAX_LENGTH else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("type") != "auth":
            raise Unauthorized(
                "Who asks? A key is needed here.", hint='Send {"type": "auth", "key": "…"} first, or the header X-API-Key.'
            )
        key, ticket = values.get("key"), values.get("ticket")
        found = None
        if isinstance(key, str):
            found = await self._gate.identity_from_token(key)
        elif isinstance(ticket, str):
            found = await self._gate.identity_from_ticket(ticket)
        if found is None:
            raise InvalidCredential("This key, token or ticket is not good here, or not any more.")
        return found

    async def refuse(self, error: HunyuanOcrError) -> None:
        """Say why, and hang up."""
        await _hang_up(self._send, error)

    async def receive(self) -> Message:
        """As the server's, from the connection on."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        return await self._receive()

    async def send(self, message: Message) -> None:
        """As the server's; the socket is open already."""
        if message["type"] == "websocket.accept" and not self._accepted:
            self._accepted = True
            return
        await self._send(message)


class RevocationCheck:
    """An open socket: once its key or token is no good any more, its next message ends it."""

    def __init__(self, gate: Authenticator, identity: Identity, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._identity = identity
        self._receive = receive
        self._send = send
        self._over = False

    async def receive(self) -> Message:
        """The next message; the end where the identity is over."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            return message
        try:
            if await self._gate.is_valid(self._identity):
                return message
            error: HunyuanOcrError = InvalidCredential("This key or token is not good any more.")
        except HunyuanOcrError as e:
            error = e
        await _hang_up(self._send, error)
        self._over = True
        return {"type": "websocket.disconnect", "code": UNAUTHORIZED}

    async def send(self, message: Message) -> None:
        """Nothing more once the socket has been ended."""
        if self._over:
            raise OSError("the socket is closed")  # as servers say it; Starlette makes WebSocketDisconnect of it
        await self._send(message)


async def _hang_up(send: Send, error: HunyuanOcrError) -> None:
    code = UNAUTHORIZED if isinstance(error, Unauthorized) else FORBIDDEN if isinstance(error, MissingScope) else _TRY_AGAIN_LATER
    await send({"type": "websocket.send", "text": encode_reply(FrameFailed(None, error))})
    await send({"type": "websocket.close", "code": code, "reason": error.code})
