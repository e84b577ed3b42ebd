"""Readings that nobody stands and waits for: queued jobs and files of a watched folder. They go through the same pipeline as
requests at the counter and leave room for those.
"""

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

MAX_WORKERS = 33  # more never help
_WORKERS_POLL_INTERVAL_S = 2.0
_POLL_INTERVAL_S = 0.2  # whether the reader is ready
_MAX_WAIT_S = 30.0  # between two tries while the reader loads or rests


class BackgroundReader:
    """At most as many of these readings are in the pipeline as it reads at a time, so that its waiting room is left to others:
    who comes with a request waits for one of these readings at most, never for all that are queued.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._size = pipeline.concurrency
        self._slots = asyncio.Semaphore(self._size)
        self._alone = asyncio.Lock()

    def _current_slots(self) -> asyncio.Semaphore:
        """Another model may read more or fewer at a time; who holds a place of before gives that one back."""
        if self._size != self.pipeline.concurrency:
            self._size = self.pipeline.concurrency
            self._slots = asyncio.Semaphore(self._size)
        return self._slots

    async def wait_until_needed(self, worker: int) -> None:
        """Wait until this hand (0 … `MAX_WORKERS` - 1) is needed: one more than are read, so that the next picture is here
        in time.
        """
        while worker > self.pipeline.concurrency:  # noqa: ASYNC110 -- a swap of models has no event
            await asyncio.sleep(_WORKERS_POLL_INTERVAL_S)

    @property
    def suspect_running(self) -> bool:
        """Whether a suspect is being read."""
        return self._alone.locked()

    @asynccontextmanager
    async def slot(self, *, suspect: bool = False) -> AsyncIterator[None]:
        """Hold one of the places, the reader being ready; `read` is called inside.

        A suspect is one that was being read when the process died. Suspects are read one after the other, so that the one that
        kills the process does not draw the others down with it.
        """
        async with self._alone if suspect else nullcontext(), self._current_slots():
            await self._ready()
            yield

    async def _ready(self) -> None:
        """Nothing is begun by a process that may still die while it loads the reader."""
        while not (await self.pipeline.health()).ready:  # noqa: ASYNC110 -- the reader's health has no event
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def read(self, request: Request, on_progress: Callable[[Progress], None] = lambda _: None) -> Result:
        """Read it, however long the reader loads, rests or is busy; raises what else the pipeline raises. `on_progress`
        hears of each page of a longer document.
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
                raise BackendFailed("The reader ended without an answer.")
            except (QueueFull, BackendUnavailable) as e:
                log.debug("A reading in the background waits: %s", e.message)
                await asyncio.sleep(min(e.retry_after, _MAX_WAIT_S))
            except OSError as e:
                if not out_of_descriptors(e):
                    raise
                log.warning("A reading in the background waits: no file descriptor is left.")
                await asyncio.sleep(OutOfDescriptors.retry_after)
