"""Render PDFs for another process over stdin and stdout. This is the program of a child process, run by its path.

A PDF from an untrusted sender may render for hours, allocate gigabytes or crash PDFium. Therefore it is rendered in a process
that can be killed, with limits of memory and CPU time, without write access and with an empty environment.

Each message to the parent is a frame: `FRAME` (kind, payload length) and the payload. A request is `REQUEST` and the PDF.
"""

from __future__ import annotations

import importlib.util
import math
import os
import resource
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    import pypdfium2

REQUEST = struct.Struct(">QIIIQd")  # bytes of the PDF, max. pages, dpi, long side, max. pixels of a page, seconds
FRAME = struct.Struct(">cI")
PAGE = struct.Struct(">IIIII")  # the original's width and height; columns, rows and bytes a row of the RGB pixels that follow
READY, COUNT, FILE, PIXELS, TEXT, FAILED, DONE = b"R", b"N", b"F", b"P", b"T", b"E", b"D"
PASSWORD, TOO_MANY_PAGES, NO_PAGES, NO_AREA, MEMORY, DAMAGED = (
    b"p",
    b"n",
    b"0",
    b"a",
    b"m",
    b"d",
)  # first byte of a FAILED payload
TextLayer = Callable[[Any, int, int], bytes]  # page, columns and rows of its rendering → JSON

MAX_FILE_BYTES = 4_000_000  # of an embedded file
_MAX_ATTACHMENTS = 8
_MAX_FILES = 64  # PDFium opens system fonts
_MAX_SIDE = 2**32 - 1  # of the original, pixels; a page may declare more


class _Limits(NamedTuple):
    max_pages: int
    dpi: int
    long_side: int
    max_pixels: int


class _Failure(Exception):
    """A failure that the parent maps to one of its errors."""

    def __init__(self, code: bytes, detail: str = "") -> None:
        super().__init__(detail)
        self.payload = code + detail.encode()[:400]


def main(memory_bytes: int) -> None:
    """Serve requests until the parent closes stdin."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 -- output of libraries must not reach the pipe
        for number in (0, 1, 2):
            os.dup2(nothing.fileno(), number)
    threading.Thread(target=_end_with_parent, args=(requests.fileno(),), daemon=True).start()
    import pypdfium2  # noqa: F401, PLC0415 -- the parent imports this module for the names above

    text_layer = _load_text_module().text_layer
    _limit(memory_bytes)
    _send(answers, READY)
    while head := requests.read(REQUEST.size):
        length, *limits, seconds = REQUEST.unpack(head)
        _limit_processor(seconds)
        _answer(answers, requests.read(length), _Limits(*limits), text_layer)
        _trim()


def _answer(answers: BinaryIO, data: bytes, limits: _Limits, text_layer: TextLayer) -> None:
    try:
        for kind, parts in _drawn(data, limits, text_layer):
            _send(answers, kind, *parts)
        _send(answers, DONE)
    except _Failure as e:
        _send(answers, FAILED, e.payload)
    except MemoryError:
        _send(answers, FAILED, MEMORY)
    except BrokenPipeError:
        raise
    except Exception as e:  # noqa: BLE001 -- damaged files make the library raise anything
        _send(answers, FAILED, DAMAGED + f"{type(e).__name__}: {e}".encode()[:400])


def _drawn(data: bytes, limits: _Limits, text_layer: TextLayer) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    document = _opened(data)
    try:
        if len(document) > limits.max_pages:
            raise _Failure(TOO_MANY_PAGES, str(len(document)))
        if len(document) == 0:
            raise _Failure(NO_PAGES)
        yield COUNT, (struct.pack(">I", len(document)),)
        yield from _embedded_xml(document)
        document.init_forms()  # renders form fields with their values
        for number in range(len(document)):
            yield from _page(document, number, limits, text_layer)
    finally:
        document.close()


def _embedded_xml(document: pypdfium2.PdfDocument) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Yield the embedded XML files, such as e-invoices."""
    for number in range(min(document.count_attachments(), _MAX_ATTACHMENTS)):
        attachment = document.get_attachment(number)
        if attachment.get_name().lower().endswith(".xml"):
            data = bytes(attachment.get_data())
            if len(data) <= MAX_FILE_BYTES:
                yield FILE, (data,)


def _opened(data: bytes) -> pypdfium2.PdfDocument:
    import pypdfium2  # noqa: PLC0415

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as e:
        # PDFium keeps the error of an earlier document, so the code alone proves nothing.
        if getattr(e, "err_code", None) == pypdfium2.raw.FPDF_ERR_PASSWORD and b"/Encrypt" in data:
            raise _Failure(PASSWORD) from e
        raise


def _page(
    document: pypdfium2.PdfDocument, number: int, limits: _Limits, text_layer: TextLayer
) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """Render one page scaled to the limits, then extract its text. Its original size is that of the page at `limits.dpi`."""
    page = document[number]
    try:
        points = page.get_size()
        if not all(0 < side < math.inf for side in points):
            raise _Failure(NO_AREA, str(number + 1))
        width, height = (max(1, round(side * limits.dpi / 72)) for side in points)
        ratio = max(width, height) / min(width, height)  # long pages: as in `pictures.fit`
        long_side = limits.long_side * (min(ratio / 3, ratio**0.5) if 3 < ratio <= 40 else 1.0)
        fits = min(1.0, long_side / max(width, height), (limits.max_pixels / (width * height)) ** 0.5)
        bitmap = page.render(scale=limits.dpi / 72 * fits, rev_byteorder=True)
        original = (min(side, _MAX_SIDE) for side in (width, height))
        yield PIXELS, (PAGE.pack(*original, bitmap.width, bitmap.height, bitmap.stride), bitmap.buffer)
        yield TEXT, (text_layer(page, bitmap.width, bitmap.height),)
    finally:
        page.close()


def _load_text_module() -> Any:
    """Load the neighbouring file by its path, because the child cannot import the package."""
    spec = importlib.util.spec_from_file_location("pdf_text", Path(__file__).with_name("pdf_text.py"))
    if spec is None or spec.loader is None:
        raise ImportError("pdf_text.py is missing.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _send(answers: BinaryIO, kind: bytes, *parts: Any) -> None:
    views = [memoryview(part).cast("B") for part in parts]
    answers.write(FRAME.pack(kind, sum(view.nbytes for view in views)))
    for view in views:
        answers.write(view)
    answers.flush()


def _limit(memory_bytes: int) -> None:
    """Limit memory to the current use plus `memory_bytes`; forbid core dumps, file writes and new processes."""
    try:
        with open("/proc/self/statm", "rb") as pages:  # noqa: PTH123 -- pathlib is not loaded here
            own = int(pages.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        own = 2**30
    limits = ((resource.RLIMIT_AS, own + memory_bytes), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0))
    for what, limit in (*limits, (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_NOFILE, _MAX_FILES)):
        _, hard_limit = resource.getrlimit(what)
        allowed = limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit)
        resource.setrlimit(what, (allowed, allowed))


def _limit_processor(seconds: float) -> None:
    """Limit the CPU time, in case the parent hangs."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + seconds) + 1
    _, hard_limit = resource.getrlimit(resource.RLIMIT_CPU)
    soft = soft if hard_limit == resource.RLIM_INFINITY else min(soft, hard_limit)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard_limit))


def _end_with_parent(number: int) -> None:
    """Exit when the pipe is closed by the parent, even while a page is rendered."""
    poll = select.poll()
    poll.register(number, 0)
    poll.poll()
    os._exit(0)


def _trim() -> None:
    """Return free memory to the system before the next document."""
    import ctypes  # noqa: PLC0415 -- already loaded by pypdfium2

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
