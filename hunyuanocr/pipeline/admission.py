"""Who may read now, who waits, and who is told to come back later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.errors import QueueFull, ReaderUnavailable
from hunyuanocr.pipeline.requests import Deadline

_NEWEST = 0.2  # weight of the latest reading in the running mean of service times


class Admission:
    """First come, first served: `readings` at a time, at most `places` waiting."""

    def __init__(self, readings: int, places: int) -> None:
        self.readings = readings
        self.places = places
        self.waiting = 0
        self.running = 0
        self._slots = asyncio.Semaphore(readings)
        self._mean_s: float | None = None
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def retry_after(self) -> float:
        """Seconds until those who wait now will have been read, judged by the latest readings; at least 1."""
        mean = 1.0 if self._mean_s is None else self._mean_s
        return max(1.0, mean * (self.waiting + self.running) / self.readings)

    @asynccontextmanager
    async def slot(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold one of the readings. Raises QueueFull, DeadlineExceeded, ReaderUnavailable (closed)."""
        await self._enter(deadline)
        began = time.perf_counter()
        self.running += 1
        self._idle.clear()
        try:
            yield
            self._learn(time.perf_counter() - began)  # only whole readings: a cancelled one would make the estimate rosy
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()
            self._slots.release()

    async def _enter(self, deadline: Deadline) -> None:
        if self._slots.locked() and self.waiting >= self.places:
            raise QueueFull(f"{self.waiting} requests are waiting already.", retry_after=self.retry_after())
        self.waiting += 1
        try:
            await deadline.within(self._slots.acquire())
        finally:
            self.waiting -= 1
        if self._closed:
            self._slots.release()  # wakes the next one that waits, so that all of them end
            raise ReaderUnavailable("The reader is shutting down.")

    def _learn(self, seconds: float) -> None:
        old = self._mean_s
        self._mean_s = seconds if old is None else (1.0 - _NEWEST) * old + _NEWEST * seconds

    async def close(self, grace_s: float) -> None:
        """Refuse newcomers and those who wait; give those being read `grace_s` seconds to end."""
        self._closed = True
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return  # the reader's own close() ends what still runs
