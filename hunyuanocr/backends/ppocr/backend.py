"""The Backend of PP-OCR."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hunyuanocr.backends.base import CPU_TASKS, BackendName, Health, check_task
from hunyuanocr.backends.ppocr.scripts import PPOCR_V6
from hunyuanocr.config import PpocrSettings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, HunyuanOcrError
from hunyuanocr.types import Line, Page, Progress, Reading, ResultWarning, Task

if TYPE_CHECKING:
    from hunyuanocr.backends.ppocr.ocr import PageReader, PageText


class _Cancelled(Exception):
    """Raised in a worker thread whose request was cancelled."""


class PpocrBackend:
    """Recognises pages on the CPU, in `workers` threads."""

    name = BackendName.PPOCR
    tasks = CPU_TASKS

    def __init__(self, settings: PpocrSettings) -> None:
        self.model = "pp-ocrv6-small" if settings.recogniser is None else f"pp-ocrv6-small+{settings.recogniser.stem}"
        self._settings = settings
        self.reader: PageReader | None = None
        self._loading = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts of the recogniser; of one's own recogniser, once it is loaded."""
        if self.reader is not None:
            return self.reader.scripts
        return PPOCR_V6 if self._settings.recogniser is None else ()

    async def start(self) -> None:
        """Load and warm up, unless the settings defer it to the first image. Raises ConfigError, MissingDependency."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._settings.workers, thread_name_prefix="ppocr")
        if self._settings.load == "eager":
            await asyncio.get_running_loop().run_in_executor(self._pool, self.load_reader)

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[Progress | Reading]:
        """Yield progress after each of several pages, then one Reading. Cancellation takes effect at the next batch of lines.

        Raises TaskNotSupported, BackendUnavailable (not started), BackendFailed.
        """
        check_task(self, task.kind)
        if self._pool is None:
            raise BackendUnavailable("PP-OCR is not started.")
        cancelled = threading.Event()
        rows: list[list[Line]] = []
        notices: list[ResultWarning] = []
        try:
            for n, page in enumerate(pages, 1):
                text = await asyncio.get_running_loop().run_in_executor(self._pool, self._read, page, cancelled)
                rows += text.rows
                notices += text.notices
                if len(pages) > 1:
                    yield Progress(n, len(pages))
            whole = "\n".join(" ".join(line.text for line in row) for row in rows)
            yield Reading(whole, tuple(line for row in rows for line in row), notices=tuple(notices))
        finally:
            cancelled.set()

    async def health(self) -> Health:
        """Return ready once started; with lazy loading, before the networks are loaded."""
        if self._pool is None:
            return Health(False, "PP-OCR is not started.")
        if self.reader is None:
            lazy = self._settings.load == "lazy"
            return Health(lazy, "The networks will be loaded with the first image." if lazy else "The networks are being loaded.")
        return Health(True, "PP-OCR is ready.")

    async def close(self) -> None:
        """Wait for running requests, drop waiting ones, free the networks."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        self.reader = None

    def load_reader(self) -> PageReader:
        """Return the reader, loaded at the first call. Blocking."""
        with self._loading:
            if self.reader is None:
                from hunyuanocr.backends.ppocr.ocr import PageReader  # noqa: PLC0415 - loads OpenCV and the engine

                reader = PageReader(self._settings)
                reader.warm_up()
                self.reader = reader
            return self.reader

    def _read(self, page: Page, cancelled: threading.Event) -> PageText:
        def check_cancelled() -> None:
            if cancelled.is_set():
                raise _Cancelled

        check_cancelled()
        reader = self.load_reader()
        try:
            return reader.read_page(page, check_cancelled)
        except (HunyuanOcrError, _Cancelled):
            raise
        except Exception as e:  # the runtimes and OpenCV raise exception classes that are not ours
            raise BackendFailed(f"PP-OCR failed ({type(e).__name__}: {str(e)[:200]}).") from e
