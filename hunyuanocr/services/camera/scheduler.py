"""Whose turn it is: round-robin, so that one fast camera cannot take the turns of fifty slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

Taker = Callable[[], Coroutine[Any, Any, None]]  # what is done with a turn; must not raise. The same one is the same taker


class Turns:
    """`places` turns at a time. Who joins the line has one turn; who has had it joins at the end again.

    Between two turns of one every other that waits has one.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._line: dict[Taker, None] = {}
        self._running: dict[Taker, asyncio.Task[None]] = {}

    def join(self, taker: Taker) -> None:
        """Stand at the end of the line; who stands in it already keeps his place. One taker has one turn at a time."""
        self._line.setdefault(taker)
        self._next()

    async def leave(self, taker: Taker) -> None:
        """Step out of the line; a turn that is being used is cancelled, and its end waited for."""
        self._line.pop(taker, None)
        running = self._running.get(taker)
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _next(self) -> None:
        for taker in [t for t in self._line if t not in self._running][: max(0, self.places - len(self._running))]:
            del self._line[taker]
            task = asyncio.create_task(taker())
            self._running[taker] = task
            task.add_done_callback(partial(self._ended, taker))

    def _ended(self, taker: Taker, _: asyncio.Task[None]) -> None:
        del self._running[taker]
        self._next()
