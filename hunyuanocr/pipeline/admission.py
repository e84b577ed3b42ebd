"""Who may read now, who waits, and who is told to come back later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.errors import BackendUnavailable, HunyuanOcrError, QueueFull
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.fairness import FairQueue, RoundRobin, Waiter

_NEWEST = 0.2  # weight of the latest reading in the running mean of service times


class AdmissionQueue:
    """`concurrency` at a time, at most `queue_capacity` waiting, shared fairly by the keys of those who ask
    (`pipeline.fairness`).

    Among the requests of one key: first come, first served. When all places are taken, a newcomer whose key holds fewer takes
    the place of the newest request of the key that holds most, which hears QueueFull.
    """

    def __init__(self, concurrency: int, queue_capacity: int) -> None:
        self.concurrency = concurrency
        self.queue_capacity = queue_capacity
        self._queue = FairQueue(queue_capacity)
        self._turns = RoundRobin()
        self._mean_s: float | None = None
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many are being read."""
        return self._turns.running.total()

    def retry_after(self, key: str = "") -> float:
        """Seconds until this key's requests and those that come before them will have been read, judged by the latest readings;
        at least 1.
        """
        mean = 1.0 if self._mean_s is None else self._mean_s
        return max(1.0, mean * (self._queue.before(key) + self.running) / self.concurrency)

    @asynccontextmanager
    async def slot(self, deadline: Deadline, key: str = "", *, background: bool = False) -> AsyncIterator[None]:
        """Hold one of the readings. Raises QueueFull, DeadlineExceeded, ReaderUnavailable (closed).

        `key` is the fairness key. `background`: nobody stands and waits for it, so that it comes after the others.
        """
        await self._enter(deadline, key, background=background)
        began = time.perf_counter()
        try:
            yield
            self._learn(time.perf_counter() - began)  # only whole readings: a cancelled one would make the estimate rosy
        finally:
            self._leave(key)

    async def _enter(self, deadline: Deadline, key: str, *, background: bool) -> None:
        if self._closed:
            raise _closing()
        if not self._queue and self.running < self.concurrency:
            self._start(key)
            return
        if not background and self._queue.full_for(key, self._turns.running):
            raise self._full(key)
        waiter = Waiter(key, background)
        displaced = self._queue.join(waiter, self._turns.running)
        if displaced is not None:
            _refuse(displaced, self._full(displaced.key))
        try:
            await deadline.within(waiter.turn)
        except BaseException:
            self._queue.leave(waiter)
            if waiter.served:  # its turn and its cancellation came together
                self._leave(key)
            raise

    def _full(self, key: str) -> QueueFull:
        return QueueFull(f"{self.waiting} requests are waiting already.", retry_after=self.retry_after(key))

    def _start(self, key: str) -> None:
        self._turns.start(key)
        self._idle.clear()

    def _leave(self, key: str) -> None:
        self._turns.end(key)
        while self._queue and self.running < self.concurrency:
            waiter = self._queue.pop(self._turns)
            if not waiter.turn.done():
                self._start(waiter.key)
                waiter.served = True
                waiter.turn.set_result(None)
        if not self.running:
            self._idle.set()

    def _learn(self, seconds: float) -> None:
        old = self._mean_s
        self._mean_s = seconds if old is None else (1.0 - _NEWEST) * old + _NEWEST * seconds

    async def close(self, grace_s: float) -> None:
        """Refuse newcomers and those who wait; give those being read `grace_s` seconds to end."""
        self._closed = True
        for waiter in self._queue.clear():
            _refuse(waiter, _closing())
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return  # the reader's own close() ends what still runs


def _closing() -> BackendUnavailable:
    return BackendUnavailable("The reader is shutting down.")


def _refuse(waiter: Waiter, error: HunyuanOcrError) -> None:
    if not waiter.turn.done():  # else it is being cancelled
        waiter.turn.set_exception(error)
