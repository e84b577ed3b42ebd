"""A pool of child processes that render PDFs: started on demand, killed if a document exceeds its limits, stopped when idle."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import DocumentTooComplex, PasswordProtected, RendererUnavailable, TooManyPages, UnreadableImage
from hunyuanocr.images.cancellation import Cancellation
from hunyuanocr.images.pdf_process import COMMAND, PdfLimits, PdfProcess, RenderedPage

log = logging.getLogger(__name__)

SIZE = 2  # child processes
DOCUMENT_PAGES = 3  # time limit of a document, in multiples of the limit of a page
_FILE_ERRORS = (PasswordProtected, TooManyPages, UnreadableImage)  # the child can be reused after these


class PdfPool:
    """Render at most `SIZE` documents concurrently, each in its own child process. Thread-safe."""

    max_documents = 200  # after which a child is replaced, because libraries leak memory
    idle_s = 30.0  # after which an idle child is stopped
    overdue_s = 15.0  # past its deadline: the child cannot be killed
    probe_s = 5.0  # between two attempts to start a child after a failure

    def __init__(self, settings: ImageSettings, command: Sequence[str] = COMMAND) -> None:
        self.command = command
        self._memory = round(settings.pdf_memory_mb * 1e6)
        self._slots = threading.BoundedSemaphore(SIZE)
        self._lock = threading.Lock()
        self._idle: list[PdfProcess] = []
        self._busy: dict[PdfProcess, float] = {}  # child → deadline of its document (monotonic clock)
        self._reaper: threading.Timer | None = None
        self._closed = False
        self._problem: str | None = None
        self._next_probe = 0.0  # monotonic clock; infinite while children start successfully
        self._probing = threading.Lock()

    def pages(self, data: bytes, settings: ImageSettings, cancellation: Cancellation) -> Iterator[RenderedPage]:
        """Render a PDF page by page while it is iterated over. Blocking.

        Raise PasswordProtected, TooManyPages, UnreadableImage, DocumentTooComplex, RendererUnavailable, WorkCancelled.
        """
        page_s = settings.pdf_timeout_s
        limits = PdfLimits(
            settings.max_pages, settings.pdf_dpi, settings.long_side, settings.max_pixels, page_s, DOCUMENT_PAGES * page_s
        )
        with self._process(limits.document_s, cancellation) as process:
            try:
                yield from process.pages(data, limits)
            except DocumentTooComplex:
                cancellation.check()
                if self._closed:
                    raise RendererUnavailable("The appliance is shutting down.") from None
                raise

    def problem(self) -> str | None:
        """Return why PDFs cannot be rendered now, or None if no problem is known. Cheap."""
        with self._lock:
            overdue = sum(time.monotonic() > deadline + self.overdue_s for deadline in self._busy.values())
        return "All processes that render PDFs are stuck." if overdue >= SIZE else self._problem

    @property
    def probe_due(self) -> bool:
        """Return whether no child was started yet, or the last start failed at least five seconds ago."""
        return not self._closed and not self._probing.locked() and time.monotonic() >= self._next_probe

    def probe(self) -> None:
        """Try to start a child if that is due, to update `problem`. Blocking."""
        if not self.probe_due or not self._probing.acquire(blocking=False):
            return
        try:
            self._start(Cancellation()).close()  # an idle child would use memory
        except RendererUnavailable:
            return
        finally:
            self._probing.release()

    def close(self) -> None:
        """Stop all children, also busy ones. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
            if self._reaper is not None:
                self._reaper.cancel()
        for process in busy:
            process.kill()  # the thread that uses it closes it
        for process in idle:
            process.close()

    @contextmanager
    def _process(self, seconds: float, cancellation: Cancellation) -> Iterator[PdfProcess]:
        with self._slots:
            process = self._take_idle() or self._start(cancellation)
            with self._lock:
                self._busy[process] = time.monotonic() + seconds
            reusable = False
            try:
                with cancellation.calling(process.kill):
                    yield process
                reusable = True
            except _FILE_ERRORS:
                reusable = True
                raise
            finally:
                if reusable and not cancellation.cancelled and process.documents < self.max_documents:
                    self._put(process)
                else:
                    process.close()
                with self._lock:
                    del self._busy[process]

    def _take_idle(self) -> PdfProcess | None:
        """Take an idle child from the pool, or None."""
        while True:
            with self._lock:
                if self._closed:
                    raise RendererUnavailable("The appliance is shutting down.")
                if not self._idle:
                    return None
                process = self._idle.pop()
            if process.alive:
                return process
            process.close()

    def _start(self, cancellation: Cancellation) -> PdfProcess:
        """Start a child. Raise RendererUnavailable, which `problem` reports from then on."""
        process = None
        try:
            process = PdfProcess(self._memory, self.command)
            with cancellation.calling(process.kill):
                process.wait_ready()
        except BaseException as e:
            if process is not None:
                process.close()
            cancellation.check()
            if isinstance(e, RendererUnavailable):
                log.error("%s", e.message)
                self._problem, self._next_probe = e.message, time.monotonic() + self.probe_s
            raise
        self._problem, self._next_probe = None, math.inf
        return process

    def _put(self, process: PdfProcess) -> None:
        """Return a child to the pool, or close it if the pool is closed."""
        with self._lock:
            if not self._closed:
                process.idle_since = time.monotonic()
                self._idle.append(process)
                self._reap_later(self.idle_s)
                return
        process.close()

    def _reap_later(self, seconds: float) -> None:
        if self._reaper is None:
            self._reaper = threading.Timer(seconds, self._reap)
            self._reaper.daemon = True
            self._reaper.start()

    def _reap(self) -> None:
        """Stop children that have been idle for `idle_s`, and schedule the next run for the others."""
        with self._lock:
            self._reaper = None
            latest = time.monotonic() - self.idle_s
            expired = [process for process in self._idle if process.idle_since <= latest]
            self._idle = [process for process in self._idle if process.idle_since > latest]
            if self._idle and not self._closed:
                self._reap_later(min(process.idle_since for process in self._idle) - latest)
        for process in expired:
            process.close()
