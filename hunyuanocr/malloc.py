"""How memory is taken and given back. glibc keeps what lies below a block in use, and gives threads heaps of their own, eight
for a core: a server that runs for months would hold in each of them what its largest picture needed there.
"""

from __future__ import annotations

import asyncio
import ctypes

_EVERY_S = 60.0
_ARENA_MAX, _ARENAS = -8, 2  # M_ARENA_MAX in glibc's malloc.h


def limit_malloc_arenas() -> None:
    """All threads share two heaps. To be called before there are any. Nothing happens with another C library than glibc."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Blocking for some milliseconds, more where there is much. Nothing happens with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def trim_memory_periodically() -> None:
    """Once a minute, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        await asyncio.to_thread(trim_memory)
