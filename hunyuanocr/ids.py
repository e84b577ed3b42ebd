"""Ids of requests, jobs, records and messages: UUID version 7 (RFC 9562), as 32 hexadecimal digits."""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """Return a new id: 48 bits of milliseconds, then 74 random bits. Ids of one machine sort by time and cannot be guessed."""
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    random = secrets.randbits(74)
    high, low = random >> 62, random & (1 << 62) - 1
    return f"{milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
