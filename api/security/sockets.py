"""Sockets and their keys: one that brought none says it in its first message; one whose key is revoked ends."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from starlette.types import Message, Receive, Send

from api.frames import text_of
from api.network.addresses import share
from api.security.doors import Door
from api.security.gate import Gate
from api.security.identity import Identity
from hunyuanocr.errors import BadKey, HunyuanOcrError, MissingScope, QueueFull, Unauthorized
from hunyuanocr.services.camera import Failed

UNAUTHORIZED = 3000  # the IANA registry of WebSocket close codes
FORBIDDEN = 3003
_TRY_AGAIN_LATER = 1013
_PATIENCE_S = 10.0
_LONGEST = 16 * 1024  # characters of a message with a key
_MOST, _MOST_EACH = 128, 16  # sockets that have not said yet who they are: all of them, and those of one address


class Asked:
    """A socket before it is known whose it is. Once it is, `receive` and `send` are the socket for those behind the guard."""

    def __init__(self, gate: Gate, door: Door, address: str, receive: Receive, send: Send) -> None:
        self._gate = gate
        self._door = door
        self._address = share(address)
        self._receive = receive
        self._send = send
        self._connected = self._accepted = False

    async def identity(self) -> Identity | None:
        """Open the socket and wait for `{"type": "auth", "key": …}`; None when it goes away meanwhile.

        `ticket` does as well as `key`. Raises Unauthorized, BadKey, MissingScope, QueueFull, StoreUnavailable.
        """
        await self._receive()  # websocket.connect
        await self._send({"type": "websocket.accept"})
        unnamed = self._gate.unnamed
        if unnamed.total() >= _MOST or unnamed[self._address] >= _MOST_EACH:
            raise QueueFull("Too many connections have not said yet who they are.")
        unnamed[self._address] += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                message = await self._receive()
        except TimeoutError:
            raise Unauthorized("No key came in time.") from None
        finally:
            unnamed.subtract((self._address,))
            unnamed += Counter()  # without those of which there is none any more
        if message["type"] == "websocket.disconnect":
            return None
        identity = await self._named(message.get("text"))
        self._gate.scoped(identity, self._door)
        await self._send({"type": "websocket.send", "text": json.dumps({"type": "authenticated", "owner": identity.owner})})
        return identity

    async def _named(self, text: str | None) -> Identity:
        try:
            values = json.loads(text) if text is not None and len(text) <= _LONGEST else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or values.get("type") != "auth":
            raise Unauthorized(
                "Who asks? A key is needed here.", hint='Send {"type": "auth", "key": "…"} first, or the header X-API-Key.'
            )
        key, ticket = values.get("key"), values.get("ticket")
        found = None
        if isinstance(key, str):
            found = await self._gate.bearer_of(key)
        elif isinstance(ticket, str):
            found = await self._gate.of_ticket(ticket)
        if found is None:
            raise BadKey("This key, token or ticket is not good here, or not any more.")
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


class Watched:
    """An open socket: once its key or token is no good any more, its next message ends it."""

    def __init__(self, gate: Gate, identity: Identity, receive: Receive, send: Send) -> None:
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
            if await self._gate.holds(self._identity):
                return message
            error: HunyuanOcrError = BadKey("This key or token is not good any more.")
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
    await send({"type": "websocket.send", "text": text_of(Failed(None, error))})
    await send({"type": "websocket.close", "code": code, "reason": error.code})
