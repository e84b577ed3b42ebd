"""Run recognition for queued jobs and watched files: the same pipeline as for requests, with capacity left for requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace

from hunyuanocr.errors import BackendFailed, BackendUnavailable, OutOfDescriptors, QueueFull, out_of_descriptors
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import Progress, Result

log = logging.getLogger(__name__)

MAX_WORKERS = 33  # more workers do not increase throughput
_WORKERS_POLL_INTERVAL_S = 2.0
_POLL_INTERVAL_S = 0.2  # whether the backend is ready
_MAX_WAIT_S = 30.0  # between two attempts while the backend loads or its circuit breaker is open


class BackgroundReader:
    """Limit background work to the pipeline's concurrency, so that the admission queue stays free for requests.

    A request waits for at most one of these documents, never for all queued ones.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._size = pipeline.concurrency
        self._slots = asyncio.Semaphore(self._size)
        self._suspect_lock = asyncio.Lock()

    def _current_slots(self) -> asyncio.Semaphore:
        """Return the semaphore of the current concurrency, which a model swap can change; old slots return to the old one."""
        if self._size != self.pipeline.concurrency:
            self._size = self.pipeline.concurrency
            self._slots = asyncio.Semaphore(self._size)
        return self._slots

    def needs_worker(self, index: int) -> bool:
        """Return whether worker number 0 … `MAX_WORKERS` - 1 is needed: one more than the concurrency, for prefetching."""
        return index <= self.pipeline.concurrency

    async def wait_until_needed(self, index: int) -> None:
        """Wait until `needs_worker(index)`."""
        while not self.needs_worker(index):  # noqa: ASYNC110 -- a model swap has no event
            await asyncio.sleep(_WORKERS_POLL_INTERVAL_S)

    @property
    def suspect_running(self) -> bool:
        """Whether a crash suspect is being read."""
        return self._suspect_lock.locked()

    @asynccontextmanager
    async def slot(self, *, suspect: bool = False) -> AsyncIterator[None]:
        """Hold one slot while the backend is ready; call `read` inside.

        A suspect was being read when the process crashed. Suspects are read one at a time, so that the one that crashes the
        process does not take others down with it.
        """
        async with self._suspect_lock if suspect else nullcontext(), self._current_slots():
            await self._ready()
            yield

    async def _ready(self) -> None:
        """Wait until the backend is ready; nothing starts in a process that may crash while it loads the model."""
        while not (await self.pipeline.health()).ready:  # noqa: ASYNC110 -- the backend's health has no event
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def read(self, request: Request, on_progress: Callable[[Progress], None] = lambda _: None) -> Result:
        """Read a document; wait while the backend loads, is busy or its circuit breaker is open.

        `on_progress` is called after each page of a longer document. Raises the other errors of the pipeline.
        """
        request = replace(request, background=True)
        while True:
            try:
                async with aclosing(self.pipeline.stream(request)) as parts:
                    async for part in parts:
                        if isinstance(part, Result):
                            return part
                        if isinstance(part, Progress):
                            on_progress(part)
                raise BackendFailed("The backend returned no result.")
            except (QueueFull, BackendUnavailable) as e:
                log.debug("Background work waits for the backend: %s", e.message)
                await asyncio.sleep(min(e.retry_after, _MAX_WAIT_S))
            except OSError as e:
                if not out_of_descriptors(e):
                    raise
                log.warning("Background work waits: no file descriptors left.")
                await asyncio.sleep(OutOfDescriptors.retry_after)
