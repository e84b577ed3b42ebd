"""Opening pictures and documents without anybody else having to wait for it: the async front of `ImageDecoder`.

Pictures have threads of their own. Documents (PDF, TIFF), which may take a minute, come in turn by client, and wait in the event
loop, where they hold no thread. Work that nobody waits for any more is stopped, with the process that does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from hunyuanocr.config import Settings
from hunyuanocr.images import Cancellation, ImageDecoder, is_document
from hunyuanocr.images.pdf_pool import SIZE
from hunyuanocr.malloc import trim_memory
from hunyuanocr.pipeline.client_slots import ClientSlots
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.request import Request
from hunyuanocr.pipeline.timing import Timing
from hunyuanocr.types import Page

_MAX_WAITING = 32  # documents to be opened
_PREVIEWS = 2  # threads for pictures that are only shown
_ENDING = 2  # threads more than documents: one that was stopped needs a moment to end
_PROBE_S = 1.0  # that /ready waits for a child to start
_READING_BYTES = 150_000_000  # that the CPU reader with `small_memory` takes while it reads


class Decoding:
    """One for the process. `readings` is how many pictures are read at a time."""

    def __init__(self, settings: Settings, readings: int) -> None:
        self.decoder = ImageDecoder(settings.images, small_memory=settings.ppocr.small_memory)
        self._reading = min(_READING_BYTES, self.decoder.memory.limit) if settings.ppocr.small_memory else 0
        self._deadline_s = settings.pipeline.deadline_s
        self._opening = ClientSlots(SIZE, _MAX_WAITING)  # to open a document
        places = 1 if self._reading else SIZE
        self._open = ClientSlots(places, settings.pipeline.queue_size)  # for documents that are open and wait for the reader
        # One thread more than readings: a decoder whose request was cancelled must not hold up the next one.
        self._pictures = ThreadPoolExecutor(readings + 1 + _PREVIEWS, thread_name_prefix="pictures")
        self._documents = ThreadPoolExecutor(SIZE + _ENDING, thread_name_prefix="documents")

    @property
    def busy(self) -> bool:
        """Whether documents are being opened, or wait for it, on their way to the reader."""
        return bool(self._open.running or self._open.waiting)

    async def open(self, files: Sequence[bytes], client: str, deadline: Deadline) -> tuple[Page, ...]:
        """The pages of all files, as `ImageDecoder.open_all` gives them; raises what it raises, DecodingBusy, DeadlineExceeded.

        `client` is whose turn it is where documents wait. Cancelling the caller stops the work.
        """
        if not any(is_document(data) for data in files):
            return await self._run(self._pictures, files, deadline)
        async with self._opening.slot(client, deadline):
            return await self._run(self._documents, files, deadline)

    async def preview(self, data: bytes, client: str) -> tuple[Page, ...]:
        """The pages of a file that is shown and not read, within the deadline of a request. Raises what `open` raises."""
        return await self.open((data,), client, Deadline(self._deadline_s))

    @asynccontextmanager
    async def document(self, request: Request, deadline: Deadline, timing: Timing) -> AsyncIterator[tuple[Page, ...]]:
        """The pages of a document, opened before it has a place at the reader, which goes on with others meanwhile; none of a
        picture. The block waits for that place: at most two documents are open and wait.
        """
        files = (request.data, *request.more)
        if not any(is_document(data) for data in files):
            yield ()
            return
        async with AsyncExitStack() as stack:
            with timing.stage("wait"):
                await stack.enter_async_context(self._open.slot(request.fair_key, deadline))
            with timing.stage("decode"):
                pages = await self.open(files, request.fair_key, deadline)
            yield pages

    async def picture(self, request: Request, deadline: Deadline, timing: Timing) -> tuple[Page, ...]:
        """The pages of what is no document, decoded by who has a place at the reader."""
        with timing.stage("decode"):
            return await self.open((request.data, *request.more), request.fair_key, deadline)

    @asynccontextmanager
    async def reading(self, deadline: Deadline) -> AsyncIterator[None]:
        """While the block reads: where memory is short, what the reader takes is not there for decoding large pictures."""
        if not self._reading:
            yield
            return
        memory, cancellation = self.decoder.memory, Cancellation()
        acquiring = self._pictures.submit(memory.acquire, self._reading, cancellation)
        try:
            await deadline.within(asyncio.wrap_future(acquiring))
        except BaseException:
            cancellation.cancel()
            acquiring.add_done_callback(self._release_late)
            raise
        try:
            yield
        finally:
            trim_memory()  # what the reader has freed is not there for a picture before it has gone back; some milliseconds
            memory.release(self._reading)

    def _release_late(self, acquiring: Future[None]) -> None:
        """It was granted when nobody waited for it any more."""
        if not acquiring.cancelled() and acquiring.exception() is None:
            self.decoder.memory.release(self._reading)

    async def problem(self) -> str | None:
        """Why no PDF can be drawn now; None where they can. Starts the first child to find out, and one after a failure."""
        pool = self.decoder.pdf
        if pool.probe_due:
            probing = asyncio.get_running_loop().run_in_executor(self._documents, pool.probe)
            await asyncio.wait([probing], timeout=_PROBE_S)
        return pool.problem()

    def close(self) -> None:
        """Stop what is being opened and end the children. May be called twice."""
        self.decoder.close()
        for threads in (self._pictures, self._documents):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, threads: ThreadPoolExecutor, files: Sequence[bytes], deadline: Deadline) -> tuple[Page, ...]:
        cancellation = Cancellation()
        work = partial(self.decoder.open_all, files, cancellation)
        try:
            return await deadline.within(asyncio.get_running_loop().run_in_executor(threads, work))
        finally:
            cancellation.cancel()
