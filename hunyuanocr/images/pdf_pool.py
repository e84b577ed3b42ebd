"""Children that draw PDFs: started when they are needed, killed when a document takes too much, replaced, ended when idle."""

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

SIZE = 2  # children
DOCUMENT_PAGES = 3  # a document may take as long as this many of its slowest pages
_MAX_DOCUMENTS = 200  # after which a child is replaced: libraries lose memory
_IDLE_S = 30.0  # after which a child that has nothing to draw is ended
_OVERDUE_S = 15.0  # beyond its deadline: a child that cannot even be killed
_PROBE_S = 5.0  # between two tries to start a child where the last one failed
_ABOUT_THE_FILE = (PasswordProtected, TooManyPages, UnreadableImage)  # the child is as good as before


class PdfPool:
    """At most `SIZE` documents at a time, each in a child of its own. Safe to use from several threads."""

    def __init__(self, settings: ImageSettings, command: Sequence[str] = COMMAND) -> None:
        self.command = command
        self._memory = round(settings.pdf_memory_mb * 1e6)
        self._slots = threading.BoundedSemaphore(SIZE)
        self._lock = threading.Lock()
        self._idle: list[PdfProcess] = []
        self._busy: dict[PdfProcess, float] = {}  # and by when its document must have been drawn
        self._reaper: threading.Timer | None = None
        self._closed = False
        self._problem: str | None = None
        self._next_probe = 0.0  # of the monotonic clock; infinite while children start
        self._probing = threading.Lock()

    def pages(self, data: bytes, settings: ImageSettings, cancellation: Cancellation) -> Iterator[RenderedPage]:
        """Draw a PDF, page by page, as it is iterated over. Blocking.

        Raises PasswordProtected, TooManyPages, UnreadableImage, DocumentTooComplex, RendererUnavailable, WorkCancelled.
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
        """Why no PDF can be drawn now, in one sentence; None where they can, as far as is known. Cheap."""
        with self._lock:
            overdue = sum(time.monotonic() > ends + _OVERDUE_S for ends in self._busy.values())
        return "All processes that draw PDFs are stuck." if overdue >= SIZE else self._problem

    @property
    def probe_due(self) -> bool:
        """Whether no child was started yet, or the last one did not start, five seconds ago or more."""
        return not self._closed and not self._probing.locked() and time.monotonic() >= self._next_probe

    def probe(self) -> None:
        """Start a child if that is due, for `problem` to report. Blocking."""
        if not self.probe_due or not self._probing.acquire(blocking=False):
            return
        try:
            self._started(Cancellation()).close()  # it would take memory, and there may be no PDF for a long time
        except RendererUnavailable:
            return
        finally:
            self._probing.release()

    def close(self) -> None:
        """End all children, also those that draw. May be called twice."""
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
            process = self._taken() or self._started(cancellation)
            with self._lock:
                self._busy[process] = time.monotonic() + seconds
            reusable = False
            try:
                with cancellation.calling(process.kill):
                    yield process
                reusable = True
            except _ABOUT_THE_FILE:
                reusable = True
                raise
            finally:
                if reusable and not cancellation.cancelled and process.documents < _MAX_DOCUMENTS:
                    self._put(process)
                else:
                    process.close()
                with self._lock:
                    del self._busy[process]

    def _taken(self) -> PdfProcess | None:
        """A child that waits."""
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

    def _started(self, cancellation: Cancellation) -> PdfProcess:
        """A new child. Raises RendererUnavailable, and `problem` reports it from then on."""
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
                self._problem, self._next_probe = e.message, time.monotonic() + _PROBE_S
            raise
        self._problem, self._next_probe = None, math.inf
        return process

    def _put(self, process: PdfProcess) -> None:
        """It waits for the next document, for a while."""
        with self._lock:
            if not self._closed:
                process.idle_since = time.monotonic()
                self._idle.append(process)
                self._reap_later(_IDLE_S)
                return
        process.close()

    def _reap_later(self, seconds: float) -> None:
        if self._reaper is None:
            self._reaper = threading.Timer(seconds, self._reap)
            self._reaper.daemon = True
            self._reaper.start()

    def _reap(self) -> None:
        """End children that have waited long enough; those that waited less are seen to later."""
        with self._lock:
            self._reaper = None
            latest = time.monotonic() - _IDLE_S
            over = [process for process in self._idle if process.idle_since <= latest]
            self._idle = [process for process in self._idle if process.idle_since > latest]
            if self._idle and not self._closed:
                self._reap_later(min(process.idle_since for process in self._idle) - latest)
        for process in over:
            process.close()
