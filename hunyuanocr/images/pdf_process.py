"""The parent's side of one child that draws PDFs (`pdf_worker`): start it, speak with it by the clock, end it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.errors import (
    DocumentTooComplex,
    HunyuanOcrError,
    PasswordProtected,
    RendererUnavailable,
    TooManyPages,
    UnreadableImage,
)
from hunyuanocr.images import pdf_worker as worker

COMMAND = (sys.executable, "-I", str(Path(worker.__file__).resolve()))  # by its path: only what it needs itself is imported
_START_S = 30.0  # it starts in 0.2 s; a busy machine takes longer
_END_S = 10.0  # in which a killed process is gone, whatever it did
_MAX_MESSAGE = 64 * 1024  # bytes of a frame without pixels
_PIPE_BYTES = 1024 * 1024  # fewer wake-ups than the usual 64 KiB
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH")  # what the interpreter may need to start; nothing else is handed on

RenderedPage = tuple[NDArray[np.uint8], int, int]  # RGB pixels [h, w, 3], and the original's width and height


@dataclass(frozen=True)
class PdfLimits:
    """What a document may have and take: pages, pixels of a page, and seconds for each page and for all of it."""

    max_pages: int
    dpi: int
    long_side: int
    max_pixels: int
    page_s: float
    document_s: float


class PdfProcess:
    """A running child. Safe to use from one thread at a time; `kill` from any.

    Raises RendererUnavailable where it does not start.
    """

    def __init__(self, memory_bytes: int, command: Sequence[str] = COMMAND) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "HOME": "/"}  # without HOME Python reads /etc/passwd
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [*command, str(memory_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=environment, cwd="/", bufsize=0,
            )  # fmt: skip
        except OSError as e:
            raise RendererUnavailable(f"The process that draws PDFs cannot be started: {e.strerror}.") from e
        self.documents = 0  # drawn so far
        self.idle_since = time.monotonic()
        if self._process.stdin is None or self._process.stdout is None:
            raise RendererUnavailable("The process that draws PDFs has no pipes.")
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        for number in (self._requests, self._answers):
            os.set_blocking(number, False)
            with suppress(OSError):  # not granted to everybody
                fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until it can draw. Raises RendererUnavailable; it is to be closed then."""
        try:
            kind, _ = self._frame(time.monotonic() + _START_S)
        except (EOFError, TimeoutError) as e:
            self.kill()
            raise RendererUnavailable(f"The process that draws PDFs did not start: {self._ending()}.") from e
        except DocumentTooComplex as e:
            raise RendererUnavailable("The process that draws PDFs did not start: it sent something else.") from e
        if kind != worker.READY:
            raise RendererUnavailable("The process that draws PDFs did not start: it sent something else.")

    def pages(self, data: bytes, limits: PdfLimits) -> Iterator[RenderedPage]:
        """Draw a PDF, page by page. After any error but those about the file itself the process is of no use and is to be killed.

        Raises PasswordProtected, TooManyPages, UnreadableImage and DocumentTooComplex, the latter also when it was killed.
        """
        ends = time.monotonic() + limits.document_s
        head = worker.REQUEST.pack(
            len(data), limits.max_pages, limits.dpi, limits.long_side, limits.max_pixels, limits.document_s
        )
        expected, page = 0, 0
        try:
            self._send(head, data, ends=ends)
            while True:
                kind, payload = self._frame(min(ends, time.monotonic() + limits.page_s), limits)
                if kind == worker.DONE and page == expected:
                    break
                if kind == worker.FAILED:
                    raise _error(bytes(payload[:1]), payload[1:].decode(errors="replace"), limits)
                if kind == worker.COUNT:
                    expected = min(limits.max_pages, int.from_bytes(payload, "big"))
                elif kind == worker.PIXELS and page < expected:
                    page += 1
                    yield _rendered(payload)
                else:
                    raise DocumentTooComplex("The PDF made the process that draws it fail.")
        except TimeoutError as e:
            bounds = f"{limits.page_s:g} s a page, {limits.document_s:g} s in all"
            raise DocumentTooComplex(f"Page {page + 1} of the PDF takes too long to draw; the limits are {bounds}.") from e
        except EOFError as e:
            raise DocumentTooComplex(f"The PDF crashed the process that drew it: {self._ending()}.") from e
        self.documents += 1

    def kill(self) -> None:
        """End it now. Safe from any thread, and twice."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """End it and wait until it is gone; a process that the system does not end within ten seconds is left behind."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _ending(self) -> str:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return "it does not answer"
        if status >= 0:
            return f"exit status {status}"
        with suppress(ValueError):
            return signal.Signals(-status).name
        return f"signal {-status}"

    def _send(self, *parts: bytes, ends: float) -> None:
        for part in parts:
            rest = memoryview(part)
            while rest:
                _wait(self._requests, select.POLLOUT, ends)
                try:
                    rest = rest[os.write(self._requests, rest) :]
                except BrokenPipeError as e:
                    raise EOFError from e
                except BlockingIOError:
                    continue

    def _frame(self, ends: float, limits: PdfLimits | None = None) -> tuple[bytes, bytearray]:
        """A message; its length is checked before memory is taken for it: a child that a PDF has taken over may send anything."""
        kind, length = worker.FRAME.unpack(self._read(worker.FRAME.size, ends))
        pixels = 0 if limits is None or kind != worker.PIXELS else min(limits.max_pixels, (limits.long_side + 1) ** 2)
        if length > _MAX_MESSAGE + 4 * pixels:
            raise DocumentTooComplex("A page of the PDF exceeds the pixel limit.")
        return kind, self._read(length, ends)

    def _read(self, length: int, ends: float) -> bytearray:
        found = bytearray(length)
        rest = memoryview(found)
        while rest:
            _wait(self._answers, select.POLLIN, ends)
            try:
                count = os.readv(self._answers, [rest])
            except BlockingIOError:
                continue
            if count == 0:
                raise EOFError
            rest = rest[count:]
        return found


def _wait(number: int, event: int, ends: float) -> None:
    """Until the pipe can be used or has been closed; TimeoutError when it is too late. `select` knows small numbers only."""
    poll = select.poll()
    poll.register(number, event)
    if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
        raise TimeoutError


def _rendered(payload: bytearray) -> RenderedPage:
    width, height, columns, rows, stride = worker.PAGE.unpack_from(payload)
    pixels = np.frombuffer(payload, np.uint8, offset=worker.PAGE.size)
    if not (columns and rows and stride >= 3 * columns and pixels.size == stride * rows):
        raise DocumentTooComplex("A page of the PDF does not have the size that it declares.")
    shown = pixels.reshape(rows, stride)[:, : 3 * columns].reshape(rows, columns, 3)
    return np.ascontiguousarray(shown), width, height


def _error(code: bytes, detail: str, limits: PdfLimits) -> HunyuanOcrError:
    if code == worker.PASSWORD:
        return PasswordProtected("The PDF asks for a password.")
    if code == worker.TOO_MANY_PAGES:
        return TooManyPages(f"The PDF has {detail} pages; the limit is {limits.max_pages}.")
    if code == worker.NO_PAGES:
        return UnreadableImage("The PDF has no pages.")
    if code == worker.NO_AREA:
        return UnreadableImage(f"Page {detail} of the PDF has no area.")
    if code == worker.MEMORY:
        return DocumentTooComplex("The PDF needs more memory than the limit.")
    return UnreadableImage(f"The PDF cannot be decoded ({detail[:160]}).")
