"""`ImageDecoder`: decode bytes into upright RGB pages with shared PDF processes and a shared memory budget."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import DocumentTooComplex, HunyuanOcrError, TooManyPages, UnreadableImage, UnsupportedCompression
from hunyuanocr.image_quality import assess
from hunyuanocr.images.cancellation import Cancellation, WorkCancelled
from hunyuanocr.images.einvoice import parse_einvoice
from hunyuanocr.images.kinds import kind_of, sniff
from hunyuanocr.images.memory import DecodingMemory
from hunyuanocr.images.pdf_pool import DOCUMENT_PAGES, PdfPool
from hunyuanocr.images.pdf_process import RenderedPage
from hunyuanocr.images.pictures import Decoded, picture, picture_pages
from hunyuanocr.images.text_layer import text_lines
from hunyuanocr.types import Page, ResultWarning

_DOCUMENTS = ("PDF", "TIFF")
_UNSUPPORTED = re.compile(  # messages of decoders about files that are not damaged
    r"Unsupported BMP|unknown pixel mode|unknown data organization|cannot handle \d+-bit layers|Support for this compression"
    r"|Unsupported feature|Unsupported codec"
)
_MEMORY_MB, _SMALL_MEMORY_MB = 1000.0, 170.0


class ImageDecoder:
    """Decode images and documents. One instance per process. Blocking; thread-safe. Must be closed.

    At most `pdf_pool.SIZE` PDFs are rendered at a time, and further calls block. A caller with several clients must schedule them
    fairly.
    """

    def __init__(self, settings: ImageSettings, *, small_memory: bool = False) -> None:
        self.settings = settings
        megabytes = settings.decode_memory_mb or (_SMALL_MEMORY_MB if small_memory else _MEMORY_MB)
        self.memory = DecodingMemory(round(megabytes * 1e6))
        self.pdf = PdfPool(settings)

    def __enter__(self) -> ImageDecoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the PDF processes. Idempotent."""
        self.pdf.close()

    def open_pages(self, data: bytes, cancellation: Cancellation | None = None) -> tuple[Page, ...]:
        """Decode `data` into upright RGB pages (uint8 [h, w, 3]), scaled down so that the longer side fits `long_side`.

        `Page.notices` contains warnings about missing rows, blur, glare and low resolution. Raise EmptyInput, UnsupportedMedia,
        UnsupportedCompression, UnreadableImage, PasswordProtected, ImageTooLarge, TooManyPages, DocumentTooComplex, DecodingBusy,
        RendererUnavailable, and WorkCancelled after `cancellation.cancel()`.
        """
        cancellation = cancellation or Cancellation()
        kind, data = kind_of(data, self.settings)
        deadline = time.monotonic() + DOCUMENT_PAGES * self.settings.pdf_timeout_s
        pages: list[Page] = []
        with _map_decoder_errors(kind):
            for index, decoded in enumerate(self._decoded(data, kind, cancellation)):
                pages.append(_page(decoded, index))
                if index and time.monotonic() > deadline:
                    raise DocumentTooComplex(
                        f"Opening the {kind} takes too long; the time limit was reached after page {index + 1}."
                    )
        return tuple(pages)

    def _decoded(self, data: bytes, kind: str, cancellation: Cancellation) -> Iterator[Decoded | RenderedPage]:
        if kind == "PDF":
            return self.pdf.pages(data, self.settings, cancellation)
        return picture_pages(data, kind, self.settings, self.memory, cancellation)

    def open_all(self, files: Sequence[bytes], cancellation: Cancellation | None = None) -> tuple[Page, ...]:
        """Decode several files into the pages of one document, numbered consecutively. `settings.max_pages` limits their sum."""
        pages: list[Page] = []
        for data in files:
            opened = self.open_pages(data, cancellation)
            if len(pages) + len(opened) > self.settings.max_pages:
                raise TooManyPages(f"The files have more than {self.settings.max_pages} pages in total.")
            offset = len(pages)
            pages += [_numbered(page, offset + page.index) for page in opened]
        return tuple(pages)

    def load_gray_thumbnail(self, data: bytes, long_side: int, max_bytes: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """Decode a small gray version (uint8 [h, w]), scaled down to `long_side`, for change detection.

        Return it with width and height of the upright original, or None for a document (PDF, TIFF). `max_bytes` limits the file
        size. Raise the errors of `open_pages`.
        """
        settings = self.settings.model_copy(update={"max_bytes": max_bytes})
        kind, data = kind_of(data, settings)
        if kind in _DOCUMENTS:
            return None
        with _map_decoder_errors(kind):
            return picture(data, kind, settings, self.memory, Cancellation(), long_side=long_side, mode="L")[:3]


def is_document(data: bytes) -> bool:
    """Return whether the file may have many pages (PDF, TIFF), so that opening it may take long."""
    return sniff(data) in _DOCUMENTS


def _incomplete(index: int) -> ResultWarning:
    message = "The file ends early, so a part of the picture may be missing. Check the values or send it again."
    return ResultWarning("incomplete_image", message, index)


def _page(decoded: Decoded | RenderedPage, index: int) -> Page:
    pixels, width, height = decoded.pixels, decoded.width, decoded.height
    page = Page(pixels, width, height, index, assess(pixels, width, height, index))
    if isinstance(decoded, Decoded):
        return replace(page, notices=(_incomplete(index), *page.notices)) if decoded.incomplete else page
    declared: dict[str, str] = next((found for data in decoded.files if (found := parse_einvoice(data))), {})
    return replace(page, text_layer=text_lines(decoded.runs, pixels, width, height, index), declared=declared)


def _numbered(page: Page, index: int) -> Page:
    notices = tuple(replace(n, page=index) for n in page.notices)
    return replace(page, index=index, notices=notices, text_layer=tuple(replace(n, page=index) for n in page.text_layer))


@contextmanager
def _map_decoder_errors(kind: str) -> Iterator[None]:
    """Map exceptions of decoders, which raise many classes, to UnsupportedCompression, or to UnreadableImage for damaged data."""
    try:
        yield
    except (HunyuanOcrError, WorkCancelled):
        raise
    except Exception as e:
        if _UNSUPPORTED.search(str(e)):
            raise UnsupportedCompression(f"This kind of {kind} is not supported ({str(e)[:120]}).") from e
        raise UnreadableImage(f"The {kind} cannot be decoded ({type(e).__name__}: {str(e)[:120]}).") from e
