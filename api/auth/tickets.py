"""Tickets: short-lived, single-use credentials for URLs, which must not contain long-lived ones."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from cachetools import TTLCache

from api.auth.identity import Identity
from hunyuanocr.errors import QueueFull
from hunyuanocr.services.api_keys import hash_secret

_MAX_TICKETS = 10_000


class TicketStore:
    """Keeps tickets in memory, by their hash. A restart invalidates them."""

    def __init__(self, seconds: float, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._tickets: TTLCache[str, Identity, float] = TTLCache(_MAX_TICKETS, seconds, ticks)

    def issue(self, identity: Identity) -> str:
        """Return a new ticket of 256 random bits for the identity. Raises QueueFull."""
        if len(self._tickets) >= _MAX_TICKETS:
            raise QueueFull("Too many unused tickets.", retry_after=self.seconds)
        text = secrets.token_urlsafe(32)
        self._tickets[hash_secret(text)] = identity
        return text

    def redeem(self, text: str) -> Identity | None:
        """Return the identity of a ticket and invalidate it; None if the ticket is unknown, used or expired."""
        return self._tickets.pop(hash_secret(text), None)
