"""Freed memory back to the system. glibc keeps what lies below a block in use, and pictures come in thousands of sizes: a server
that runs for months would hold, after all of them, what its worst moments needed in each of its threads.
"""

from __future__ import annotations

import asyncio
import ctypes

_EVERY_S = 60.0


def give_back_memory() -> None:
    """Blocking for some milliseconds, more where there is much. Nothing happens with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def give_back_for_ever() -> None:
    """Once a minute, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        await asyncio.to_thread(give_back_memory)
