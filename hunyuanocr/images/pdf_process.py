"""The parent side of a child process that renders PDFs (`pdf_worker`): start, communicate with timeouts, stop."""

from __future__ import annotations

import fcntl
import json
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
from typing import NamedTuple

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

COMMAND = (sys.executable, "-I", str(Path(worker.__file__).resolve()))  # run by path, so that it imports only what it needs
_START_S = 30.0  # normally 0.2 s; longer on a busy machine
_EXIT_TIMEOUT_S = 10.0  # after a kill
_MAX_MESSAGE = 64 * 1024  # bytes of a frame without pixels
_PIPE_BYTES = 1024 * 1024  # fewer wake-ups than the usual 64 KiB
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH")  # needed to start the interpreter; nothing else is passed on

_MAX_TEXT = 8 * 1024 * 1024  # bytes of a text layer
_MAX_EMBEDDED = 8  # files
TextRun = tuple[str, float, float, float, float]  # text; left, top, right, bottom in pixels of the rendered page


class RenderedPage(NamedTuple):
    """A page: RGB pixels [h, w, 3], the original's width and height, and its text layer."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    runs: tuple[TextRun, ...]
    files: tuple[bytes, ...] = ()  # embedded XML files of the document; only on its first page


@dataclass(frozen=True)
class PdfLimits:
    """Limits of a document: pages, pixels per page, and seconds per page and in total."""

    max_pages: int
    dpi: int
    long_side: int
    max_pixels: int
    page_s: float
    document_s: float


class PdfProcess:
    """A running child process. For one thread at a time; `kill` is thread-safe.

    Raise RendererUnavailable if it cannot be started.
    """

    def __init__(self, memory_bytes: int, command: Sequence[str] = COMMAND) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment |= {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "1", "HOME": "/"}  # without HOME Python reads /etc/passwd
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own program
                [*command, str(memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                bufsize=0,
            )
        except OSError as e:
            raise RendererUnavailable(f"Cannot start the process that renders PDFs: {e.strerror}.") from e
        self.documents = 0  # rendered so far
        self.idle_since = time.monotonic()
        if self._process.stdin is None or self._process.stdout is None:
            raise RendererUnavailable("The process that renders PDFs has no pipes.")
        self._requests, self._answers = self._process.stdin.fileno(), self._process.stdout.fileno()
        for number in (self._requests, self._answers):
            os.set_blocking(number, False)
            with suppress(OSError):  # may exceed the limit of the user
                fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def alive(self) -> bool:
        """Return whether the process is running."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Wait until the process is ready. Raise RendererUnavailable; the caller must close it then."""
        try:
            kind, _ = self._frame(time.monotonic() + _START_S)
        except (EOFError, TimeoutError) as e:
            self.kill()
            raise RendererUnavailable(f"The process that renders PDFs did not start: {self._exit_reason()}.") from e
        except DocumentTooComplex as e:
            raise RendererUnavailable("The process that renders PDFs did not start: invalid message.") from e
        if kind != worker.READY:
            raise RendererUnavailable("The process that renders PDFs did not start: invalid message.")

    def pages(self, data: bytes, limits: PdfLimits) -> Iterator[RenderedPage]:
        """Render a PDF page by page.

        Raise PasswordProtected, TooManyPages or UnreadableImage (the process can be reused), or DocumentTooComplex (it must be
        closed), also if the process was killed.
        """
        ends = time.monotonic() + limits.document_s
        head = worker.REQUEST.pack(
            len(data), limits.max_pages, limits.dpi, limits.long_side, limits.max_pixels, limits.document_s
        )
        expected, page = 0, 0
        drawn: bytearray | None = None  # a page without its text
        files: list[bytes] = []
        try:
            self._send(head, data, ends=ends)
            while True:
                kind, payload = self._frame(min(ends, time.monotonic() + limits.page_s), limits)
                if kind == worker.DONE and page == expected and drawn is None:
                    break
                if kind == worker.FAILED:
                    raise _error(bytes(payload[:1]), payload[1:].decode(errors="replace"), limits)
                if kind == worker.COUNT:
                    expected = min(limits.max_pages, int.from_bytes(payload, "big"))
                elif kind == worker.FILE and len(files) < _MAX_EMBEDDED:
                    files.append(bytes(payload))
                elif kind == worker.PIXELS and page < expected and drawn is None:
                    drawn = payload
                elif kind == worker.TEXT and drawn is not None:
                    page += 1
                    pixels, drawn = drawn, None
                    yield RenderedPage(*_rendered(pixels), _text_runs(payload), tuple(files) if page == 1 else ())
                else:
                    raise DocumentTooComplex("The PDF made the rendering process fail.")
        except TimeoutError as e:
            bounds = f"{limits.page_s:g} s per page, {limits.document_s:g} s in total"
            raise DocumentTooComplex(f"Page {page + 1} of the PDF takes too long to draw; limits: {bounds}.") from e
        except EOFError as e:
            raise DocumentTooComplex(f"The PDF crashed the rendering process: {self._exit_reason()}.") from e
        self.documents += 1

    def kill(self) -> None:
        """Kill the process. Thread-safe and idempotent."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """Kill the process and wait up to ten seconds for its exit."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _exit_reason(self) -> str:
        try:
            status = self._process.wait(_EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "no exit after a kill"
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
        """Receive a message. Its length is checked before memory is allocated, since a compromised child may send anything."""
        kind, length = worker.FRAME.unpack(self._read(worker.FRAME.size, ends))
        pixels = 0 if limits is None or kind != worker.PIXELS else min(limits.max_pixels, (limits.long_side + 1) ** 2)
        data = {worker.TEXT: _MAX_TEXT, worker.FILE: worker.MAX_FILE_BYTES}.get(kind, _MAX_MESSAGE + 4 * pixels)
        if length > data:
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
    """Wait until the pipe is ready or closed. Raise TimeoutError. `poll`, because `select` is limited to 1,024 descriptors."""
    poll = select.poll()
    poll.register(number, event)
    if not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
        raise TimeoutError


def _rendered(payload: bytearray) -> tuple[NDArray[np.uint8], int, int]:
    width, height, columns, rows, stride = worker.PAGE.unpack_from(payload)
    pixels = np.frombuffer(payload, np.uint8, offset=worker.PAGE.size)
    if not (columns and rows and stride >= 3 * columns and pixels.size == stride * rows):
        raise DocumentTooComplex("The size of a rendered PDF page is inconsistent.")
    shown = pixels.reshape(rows, stride)[:, : 3 * columns].reshape(rows, columns, 3)
    return np.ascontiguousarray(shown), width, height


def _text_runs(payload: bytearray) -> tuple[TextRun, ...]:
    """Return the text layer; a compromised child may send anything."""
    try:
        runs = json.loads(payload)
        return tuple((str(text), float(x0), float(y0), float(x1), float(y1)) for text, x0, y0, x1, y1 in runs)
    except (ValueError, TypeError, RecursionError) as e:
        raise DocumentTooComplex("The PDF made the rendering process fail.") from e


def _error(code: bytes, detail: str, limits: PdfLimits) -> HunyuanOcrError:
    if code == worker.PASSWORD:
        return PasswordProtected("The PDF requires a password.")
    if code == worker.TOO_MANY_PAGES:
        return TooManyPages(f"The PDF has {detail} pages; the limit is {limits.max_pages}.")
    if code == worker.NO_PAGES:
        return UnreadableImage("The PDF has no pages.")
    if code == worker.NO_AREA:
        return UnreadableImage(f"Page {detail} of the PDF has no area.")
    if code == worker.MEMORY:
        return DocumentTooComplex("The PDF exceeds the memory limit.")
    return UnreadableImage(f"The PDF cannot be decoded ({detail[:160]}).")
