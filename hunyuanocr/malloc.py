"""Settings of the glibc allocator that keep the memory of a long-running server low.

glibc uses up to eight arenas per CPU for its threads and does not return free memory below a block in use, so that each arena
would keep the memory of its largest image.
"""

from __future__ import annotations

import asyncio
import ctypes

_INTERVAL_S = 60.0
_ARENA_MAX, _ARENAS = -8, 2  # M_ARENA_MAX in glibc's malloc.h


def limit_malloc_arenas() -> None:
    """Limit malloc to two arenas. Must be called before threads start. No effect without glibc."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Return free memory to the system. Blocking for some milliseconds. No effect without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def trim_memory_periodically() -> None:
    """Call `trim_memory` once a minute, until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_S)
        await asyncio.to_thread(trim_memory)
