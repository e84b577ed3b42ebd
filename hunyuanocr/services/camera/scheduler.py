"""Round-robin scheduling, so that a fast camera does not delay slow ones, nor a client with many cameras another client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from hunyuanocr.pipeline.fairness import RoundRobin

Work = Callable[[], Coroutine[Any, Any, None]]  # the work of one turn; must not raise; also identifies whose turn it is


class TurnScheduler:
    """Run up to `capacity` turns concurrently, shared fairly by fairness key (`pipeline.fairness`).

    Within a key, turns are first in, first out; after its turn, a member queues at the end again.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.queues: dict[str, dict[Work, None]] = {}
        self.running: dict[Work, asyncio.Task[None]] = {}
        self._keys = RoundRobin()

    def enqueue(self, work: Work, key: str = "") -> None:
        """Queue at the end; a member that is queued already keeps its place.

        A member has one turn at a time and always the same key.
        """
        self.queues.setdefault(key, {}).setdefault(work)
        self._next()

    async def cancel(self, work: Work) -> None:
        """Remove a member from the queue; cancel its running turn and wait until it has ended."""
        for key, queue in list(self.queues.items()):
            if work in queue:
                self._drop(key, work)
        running = self.running.get(work)
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _drop(self, key: str, work: Work) -> None:
        queue = self.queues[key]
        del queue[work]
        if not queue:
            del self.queues[key]

    def _next(self) -> None:
        while len(self.running) < self.capacity:
            ready = {key: work for key, queue in self.queues.items() if (work := self._first(queue)) is not None}
            if not ready:
                return
            key = self._keys.choose(ready)
            self._drop(key, ready[key])
            self._keys.start(key)
            task = asyncio.create_task(ready[key]())
            self.running[ready[key]] = task
            task.add_done_callback(partial(self._ended, ready[key], key))

    def _first(self, queue: dict[Work, None]) -> Work | None:
        """Return the first member without a running turn."""
        return next((work for work in queue if work not in self.running), None)

    def _ended(self, work: Work, key: str, _: asyncio.Task[None]) -> None:
        del self.running[work]
        self._keys.end(key)
        self._next()
