"""The asynchronous interface of `ImageDecoder`: opens images and documents without blocking other requests.

Images are decoded in a separate thread pool. Documents (PDF, TIFF), which may take a minute, take turns by client and wait in the
event loop, where they occupy no thread. A cancelled request stops its decoding and the process that does it.
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

_MAX_WAITING = 32  # documents that wait to be opened
_PREVIEW_THREADS = 2  # for images that are shown, not recognised
_SPARE_THREADS = 2  # for documents that were cancelled and have not ended yet
_PROBE_TIMEOUT_S = 1.0  # for which /ready waits for a child process to start
_OCR_BYTES = 150_000_000  # memory of the CPU backend with `small_memory` during OCR


class Decoding:
    """Decodes the files of all requests of the process. `concurrency` is the number of requests that run at a time."""

    def __init__(self, settings: Settings, concurrency: int) -> None:
        self.decoder = ImageDecoder(settings.images, small_memory=settings.ppocr.small_memory)
        self._ocr_bytes = min(_OCR_BYTES, self.decoder.memory.limit) if settings.ppocr.small_memory else 0
        self._deadline_s = settings.pipeline.deadline_s
        self._opening = ClientSlots(SIZE, _MAX_WAITING)  # for documents that are being opened
        capacity = 1 if self._ocr_bytes else SIZE
        self.open_documents = ClientSlots(capacity, settings.pipeline.queue_size)  # open, waiting for the backend
        # One spare thread: decoding whose request was cancelled must not delay the next request.
        self._images = ThreadPoolExecutor(concurrency + 1 + _PREVIEW_THREADS, thread_name_prefix="images")
        self._documents = ThreadPoolExecutor(SIZE + _SPARE_THREADS, thread_name_prefix="documents")

    @property
    def busy(self) -> bool:
        """Whether documents are being opened or wait to be opened."""
        return bool(self.open_documents.running or self.open_documents.waiting)

    async def open(self, files: Sequence[bytes], client: str, deadline: Deadline) -> tuple[Page, ...]:
        """Return the pages of all files. Raises the errors of `ImageDecoder.open_all`, DecodingBusy and DeadlineExceeded.

        `client` is the fairness key for documents. Cancelling the caller stops the work.
        """
        if not any(is_document(data) for data in files):
            return await self._run(self._images, files, deadline)
        async with self._opening.slot(client, deadline):
            return await self._run(self._documents, files, deadline)

    async def preview(self, data: bytes, client: str) -> tuple[Page, ...]:
        """Return the pages of a file for display, within the deadline of a request. Raises the errors of `open`."""
        return await self.open((data,), client, Deadline(self._deadline_s))

    @asynccontextmanager
    async def document(self, request: Request, deadline: Deadline, timing: Timing) -> AsyncIterator[tuple[Page, ...]]:
        """Yield the pages of a document; no pages for an image. The block waits for a slot of the backend.

        A document is opened before it has a slot, so that the backend serves other requests in the meantime. At most two
        documents are open and wait.
        """
        files = (request.data, *request.more)
        if not any(is_document(data) for data in files):
            yield ()
            return
        async with AsyncExitStack() as stack:
            with timing.stage("wait"):
                await stack.enter_async_context(self.open_documents.slot(request.fair_key, deadline))
            with timing.stage("decode"):
                pages = await self.open(files, request.fair_key, deadline)
            yield pages

    async def picture(self, request: Request, deadline: Deadline, timing: Timing) -> tuple[Page, ...]:
        """Return the pages of images. Call it while a slot of the backend is held."""
        with timing.stage("decode"):
            return await self.open((request.data, *request.more), request.fair_key, deadline)

    @asynccontextmanager
    async def reading(self, deadline: Deadline) -> AsyncIterator[None]:
        """Reserve the backend's memory while the block runs (small_memory): large images are not decoded at the same time."""
        if not self._ocr_bytes:
            yield
            return
        memory, cancellation = self.decoder.memory, Cancellation()
        acquiring = self._images.submit(memory.acquire, self._ocr_bytes, cancellation)
        try:
            await deadline.within(asyncio.wrap_future(acquiring))
        except BaseException:
            cancellation.cancel()
            acquiring.add_done_callback(self._release_late)
            raise
        try:
            yield
        finally:
            trim_memory()  # takes milliseconds; without it freed memory is not available for the next image
            memory.release(self._ocr_bytes)

    def _release_late(self, acquiring: Future[None]) -> None:
        """Release memory that was granted after the request had been cancelled."""
        if not acquiring.cancelled() and acquiring.exception() is None:
            self.decoder.memory.release(self._ocr_bytes)

    async def problem(self) -> str | None:
        """Return why PDF files cannot be rendered, or None. Starts a child process to test it, once and after each failure."""
        pool = self.decoder.pdf
        if pool.probe_due:
            probing = asyncio.get_running_loop().run_in_executor(self._documents, pool.probe)
            await asyncio.wait([probing], timeout=_PROBE_TIMEOUT_S)
        return pool.problem()

    def close(self) -> None:
        """Cancel all decoding and stop the child processes. May be called twice."""
        self.decoder.close()
        for threads in (self._images, self._documents):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, threads: ThreadPoolExecutor, files: Sequence[bytes], deadline: Deadline) -> tuple[Page, ...]:
        cancellation = Cancellation()
        work = partial(self.decoder.open_all, files, cancellation)
        try:
            return await deadline.within(asyncio.get_running_loop().run_in_executor(threads, work))
        finally:
            cancellation.cancel()
