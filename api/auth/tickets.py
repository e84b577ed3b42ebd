"""Tickets: short-lived, single-use credentials for URLs, which must not contain long-lived ones."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from api.auth.identity import Identity
from hunyuanocr.errors import QueueFull

_MAX_TICKETS = 10_000


class TicketStore:
    """Keeps tickets in memory, by their hash. A restart invalidates them."""

    def __init__(self, seconds: float, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.ticks = ticks
        self._tickets: dict[bytes, tuple[Identity, float]] = {}

    def issue(self, identity: Identity) -> str:
        """Return a new ticket of 256 random bits for the identity. Raises QueueFull."""
        now = self.ticks()
        for expired in [ticket for ticket, (_, until) in self._tickets.items() if until <= now]:
            del self._tickets[expired]
        if len(self._tickets) >= _MAX_TICKETS:
            raise QueueFull("Too many unused tickets.", retry_after=self.seconds)
        text = secrets.token_urlsafe(32)
        self._tickets[_hash(text)] = identity, now + self.seconds
        return text

    def redeem(self, text: str) -> Identity | None:
        """Return the identity of a ticket and invalidate it; None if the ticket is unknown, used or expired."""
        identity, until = self._tickets.pop(_hash(text), (None, 0.0))
        return identity if self.ticks() < until else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
