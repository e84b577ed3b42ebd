"""The search for QR and bar codes, in threads, while the backend reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from hunyuanocr.aio import run_alongside
from hunyuanocr.config import Settings
from hunyuanocr.errors import DeadlineExceeded
from hunyuanocr.images import Cancellation, find_codes
from hunyuanocr.malloc import trim_memory
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.types import Code, Page

log = logging.getLogger(__name__)


class CodeSearch:
    """Finds the codes of all requests of the process. `concurrency` is the number of requests that run at a time."""

    def __init__(self, settings: Settings, concurrency: int) -> None:
        self._small_memory = settings.ppocr.small_memory  # then it ends before the recognition: their memory does not add up
        # One spare thread: a search whose request was cancelled must not delay the next request.
        self._threads = ThreadPoolExecutor(concurrency + 1, thread_name_prefix="codes")

    @asynccontextmanager
    async def run(self, pages: Sequence[Page], deadline: Deadline) -> AsyncIterator[asyncio.Task[tuple[Code, ...]]]:
        """Search while the block runs, and yield the task. Leaving the block cancels the search. A failure finds no codes."""
        async with run_alongside(self._find(pages, deadline.minus_reserve())) as task:
            if self._small_memory:
                await asyncio.wait((task,))
            yield task

    async def _find(self, pages: Sequence[Page], deadline: Deadline) -> tuple[Code, ...]:
        cancellation = Cancellation()
        try:
            loop = asyncio.get_running_loop()
            return await deadline.within(loop.run_in_executor(self._threads, self._search, pages, cancellation))
        except DeadlineExceeded:
            log.warning("The search for codes took too long; the answer has none.")
        except Exception:
            log.exception("The search for codes failed; the answer has none.")
        finally:
            cancellation.cancel()
        return ()

    def _search(self, pages: Sequence[Page], cancellation: Cancellation) -> tuple[Code, ...]:
        try:
            return find_codes(pages, cancellation)
        finally:
            if self._small_memory:
                trim_memory()

    def close(self) -> None:
        """Stop the threads. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)
