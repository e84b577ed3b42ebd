"""Admission control: which requests run now, which wait, and which are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.errors import BackendUnavailable, HunyuanOcrError, QueueFull
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.fairness import FairQueue, RoundRobin, Waiter

_LATEST_WEIGHT = 0.2  # of the latest request in the moving average of service times


class AdmissionQueue:
    """Runs `concurrency` requests at a time; at most `queue_capacity` wait, in the fair order of `pipeline.fairness`.

    Requests of one key are served in order of arrival. If the queue is full, a request of a key with fewer requests replaces
    the newest request of the key with most, which fails with QueueFull.
    """

    def __init__(self, concurrency: int, queue_capacity: int) -> None:
        self.concurrency = concurrency
        self.queue_capacity = queue_capacity
        self._queue = FairQueue(queue_capacity)
        self.turns = RoundRobin()
        self._mean_s: float | None = None
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Number of requests that run."""
        return self.turns.running.total()

    def retry_after(self, key: str = "") -> float:
        """Return the estimated seconds until this key's queued requests and those ahead of them are done; at least 1."""
        mean = 1.0 if self._mean_s is None else self._mean_s
        return max(1.0, mean * (self._queue.before(key) + self.running) / self.concurrency)

    @asynccontextmanager
    async def slot(self, deadline: Deadline, key: str = "", *, background: bool = False) -> AsyncIterator[None]:
        """Hold one slot while the block runs. Raises QueueFull, DeadlineExceeded, BackendUnavailable (closed).

        `key` is the fairness key. `background` requests come after interactive ones.
        """
        await self._enter(deadline, key, background=background)
        start = time.perf_counter()
        try:
            yield
            self.record_duration(time.perf_counter() - start)  # completed requests only: cancelled ones are too short
        finally:
            self._leave(key)

    async def _enter(self, deadline: Deadline, key: str, *, background: bool) -> None:
        if self._closed:
            raise _shutting_down()
        if not self._queue and self.running < self.concurrency:
            self._start(key)
            return
        if not background and self._queue.full_for(key, self.turns.running):
            raise self._full(key)
        waiter = Waiter(key, background)
        displaced = self._queue.join(waiter, self.turns.running)
        if displaced is not None:
            _refuse(displaced, self._full(displaced.key))
        try:
            await deadline.within(waiter.turn)
        except BaseException:
            self._queue.leave(waiter)
            if waiter.served:  # the slot was granted at the moment of the cancellation
                self._leave(key)
            raise

    def _full(self, key: str) -> QueueFull:
        return QueueFull(f"The queue is full: {self.waiting} requests are waiting.", retry_after=self.retry_after(key))

    def _start(self, key: str) -> None:
        self.turns.start(key)
        self._idle.clear()

    def _leave(self, key: str) -> None:
        self.turns.end(key)
        while self._queue and self.running < self.concurrency:
            waiter = self._queue.pop(self.turns)
            if not waiter.turn.done():
                self._start(waiter.key)
                waiter.served = True
                waiter.turn.set_result(None)
        if not self.running:
            self._idle.set()

    def record_duration(self, seconds: float) -> None:
        """Count a completed request in the moving average of service times."""
        old = self._mean_s
        self._mean_s = seconds if old is None else (1.0 - _LATEST_WEIGHT) * old + _LATEST_WEIGHT * seconds

    async def close(self, grace_s: float) -> None:
        """Refuse new and waiting requests; wait up to `grace_s` seconds for running ones."""
        self._closed = True
        for waiter in self._queue.clear():
            _refuse(waiter, _shutting_down())
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return  # the backend's close() stops what still runs


def _shutting_down() -> BackendUnavailable:
    return BackendUnavailable("The OCR backend is shutting down.")


def _refuse(waiter: Waiter, error: HunyuanOcrError) -> None:
    if not waiter.turn.done():  # otherwise it is being cancelled
        waiter.turn.set_exception(error)
