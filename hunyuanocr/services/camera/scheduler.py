"""Whose turn it is: round-robin, so that one fast camera cannot take the turns of fifty slow ones, nor one client's hundred
cameras those of another's one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from hunyuanocr.pipeline.fairness import RoundRobin

Work = Callable[[], Coroutine[Any, Any, None]]  # what is done with a turn; must not raise. The same one is the same taker


class TurnScheduler:
    """`capacity` turns at a time, shared fairly by the fairness keys of the takers (`pipeline.fairness`). Among those of one key,
    who joins the line has one turn; who has had it joins at the end again: between two turns of one every other has one.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lines: dict[str, dict[Work, None]] = {}
        self._running: dict[Work, asyncio.Task[None]] = {}
        self._keys = RoundRobin()

    def enqueue(self, taker: Work, key: str = "") -> None:
        """Stand at the end of the line; who stands in it already keeps his place. One taker has one turn at a time, and always
        the same key.
        """
        self._lines.setdefault(key, {}).setdefault(taker)
        self._next()

    async def cancel(self, taker: Work) -> None:
        """Step out of the line; a turn that is being used is cancelled, and its end waited for."""
        for key, line in list(self._lines.items()):
            if taker in line:
                self._drop(key, taker)
        running = self._running.get(taker)
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _drop(self, key: str, taker: Work) -> None:
        line = self._lines[key]
        del line[taker]
        if not line:
            del self._lines[key]

    def _next(self) -> None:
        while len(self._running) < self.capacity:
            ready = {key: taker for key, line in self._lines.items() if (taker := self._first(line)) is not None}
            if not ready:
                return
            key = self._keys.choose(ready)
            self._drop(key, ready[key])
            self._keys.start(key)
            task = asyncio.create_task(ready[key]())
            self._running[ready[key]] = task
            task.add_done_callback(partial(self._ended, ready[key], key))

    def _first(self, line: dict[Work, None]) -> Work | None:
        """The first one that is not using a turn already."""
        return next((taker for taker in line if taker not in self._running), None)

    def _ended(self, taker: Work, key: str, _: asyncio.Task[None]) -> None:
        del self._running[taker]
        self._keys.end(key)
        self._next()
