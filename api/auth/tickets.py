"""Tickets: short-lived, good for one use; for addresses, where nothing that lasts may stand."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from api.auth.identity import Identity
from hunyuanocr.errors import QueueFull

_MAX_TICKETS = 10_000


class TicketStore:
    """In memory, by their hash. They end with the process."""

    def __init__(self, seconds: float, *, ticks: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._ticks = ticks
        self._held: dict[bytes, tuple[Identity, float]] = {}

    def issue(self, identity: Identity) -> str:
        """256 random bits that stand for this identity once. Raises QueueFull."""
        now = self._ticks()
        for old in [ticket for ticket, (_, until) in self._held.items() if until <= now]:
            del self._held[old]
        if len(self._held) >= _MAX_TICKETS:
            raise QueueFull("Too many tickets wait to be used.", retry_after=self.seconds)
        text = secrets.token_urlsafe(32)
        self._held[_hash(text)] = identity, now + self.seconds
        return text

    def redeem(self, text: str) -> Identity | None:
        """Whose ticket it is; it is used up. None for one that is unknown, used, or too old."""
        identity, until = self._held.pop(_hash(text), (None, 0.0))
        return identity if self._ticks() < until else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
