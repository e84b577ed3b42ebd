"""Slots for long work, shared fairly between clients."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.errors import DecodingBusy
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.fairness import RoundRobin

_RETRY_AFTER_S = 10.0


class ClientSlots:
    """At most `capacity` slots are held at a time, by one client at most `capacity` - 1, so that others can proceed.

    Clients take turns. At most `max_waiting` requests wait, of one client at most half of that. For one event loop.
    """

    def __init__(self, capacity: int, max_waiting: int) -> None:
        self._capacity = capacity
        self._max_waiting = max_waiting
        self._max_per_client = max(1, capacity - 1)
        self._turns = RoundRobin()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def running(self) -> int:
        """Number of slots that are held."""
        return self._turns.running.total()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a slot."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def slot(self, client: str, deadline: Deadline) -> AsyncIterator[None]:
        """Hold a slot while the block runs. Raises DecodingBusy if too many requests wait, and DeadlineExceeded."""
        turn = self._join(client)
        try:
            await deadline.within(turn)
        except BaseException:
            if turn.done() and not turn.cancelled():  # granted at the moment of the cancellation
                self._release(client)
            else:
                self._remove(client, turn)
            raise
        try:
            yield
        finally:
            self._release(client)

    def _join(self, client: str) -> asyncio.Future[None]:
        if self.waiting >= self._max_waiting or len(self._waiting.get(client, ())) >= max(1, self._max_waiting // 2):
            raise DecodingBusy(f"The queue is full: {self.waiting} documents are waiting.", retry_after=_RETRY_AFTER_S)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._grant()
        return turn

    def _release(self, client: str) -> None:
        self._turns.end(client)
        self._grant()

    def _remove(self, client: str, turn: asyncio.Future[None]) -> None:
        """Stop waiting. Has no effect on a request that was removed."""
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(client, None)

    def _grant(self) -> None:
        while self.running < self._capacity:
            eligible = [client for client in self._waiting if self._turns.running[client] < self._max_per_client]
            if not eligible:
                return
            client = self._turns.choose(eligible)
            turn = self._waiting[client][0]
            self._remove(client, turn)
            if not turn.done():  # otherwise its request is being cancelled
                self._turns.start(client)
                turn.set_result(None)
