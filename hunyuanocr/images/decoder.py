"""`ImageDecoder`: bytes → upright RGB pages, with what is shared within a process: the children for PDFs, and the memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.config import ImageSettings
from hunyuanocr.errors import DocumentTooComplex, HunyuanOcrError, TooManyPages, UnreadableImage
from hunyuanocr.image_quality import assess
from hunyuanocr.images.cancellation import Cancellation, WorkCancelled
from hunyuanocr.images.kinds import kind_of, sniff
from hunyuanocr.images.memory import DecodingMemory
from hunyuanocr.images.pdf_pool import DOCUMENT_PAGES, PdfPool
from hunyuanocr.images.pictures import Decoded, picture, picture_pages
from hunyuanocr.types import Page

_MEMORY_MB, _SMALL_MEMORY_MB = 1000.0, 170.0


class ImageDecoder:
    """Opens pictures and documents for everybody in a process. Blocking; safe to use from several threads. Close it at the end.

    A caller that serves several clients must make them take turns: at most `pdf_pool.SIZE` documents are drawn at
    once, and others wait in their threads.
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
        """End the children. May be called twice."""
        self.pdf.close()

    def open_pages(self, data: bytes, cancellation: Cancellation | None = None) -> tuple[Page, ...]:
        """Decode `data` into upright RGB pages (uint8 [h, w, 3]), scaled down so that the longer side fits `long_side`.

        Warnings about blur, glare and low resolution go into `Page.notices`. Raises EmptyInput, UnsupportedMedia,
        UnreadableImage, PasswordProtected, ImageTooLarge, TooManyPages, DocumentTooComplex, DecodingBusy, RendererUnavailable;
        and WorkCancelled after `cancellation.cancel()`.
        """
        cancellation = cancellation or Cancellation()
        kind = kind_of(data, self.settings)
        ends = time.monotonic() + DOCUMENT_PAGES * self.settings.pdf_timeout_s
        pages: list[Page] = []
        with _damage_is_ours(kind):
            for index, (pixels, width, height) in enumerate(self._decoded(data, kind, cancellation)):
                pages.append(Page(pixels, width, height, index, assess(pixels, width, height, index)))
                if index and time.monotonic() > ends:
                    raise DocumentTooComplex(f"The {kind} takes too long to open; the time ended after page {index + 1}.")
        return tuple(pages)

    def _decoded(self, data: bytes, kind: str, cancellation: Cancellation) -> Iterator[Decoded]:
        if kind == "PDF":
            return self.pdf.pages(data, self.settings, cancellation)
        return picture_pages(data, kind, self.settings, self.memory, cancellation)

    def open_all(self, files: Sequence[bytes], cancellation: Cancellation | None = None) -> tuple[Page, ...]:
        """The pages of several files as those of one document: numbered through, and together within `settings.max_pages`."""
        pages: list[Page] = []
        for data in files:
            found = self.open_pages(data, cancellation)
            if len(pages) + len(found) > self.settings.max_pages:
                raise TooManyPages(f"The pictures have more than {self.settings.max_pages} pages.")
            before = len(pages)
            pages += [_numbered(page, before + page.index) for page in found]
        return tuple(pages)

    def glance(self, data: bytes, long_side: int, max_bytes: int) -> tuple[NDArray[np.uint8], int, int] | None:
        """A cheap, small version of a picture: grey (uint8 [h, w]), scaled down to `long_side`, with the upright original's
        width and height. `max_bytes` is the limit of the file.

        None for a document (PDF, TIFF). Raises what `open_pages` does.
        """
        settings = self.settings.model_copy(update={"max_bytes": max_bytes})
        kind = kind_of(data, settings)
        if is_document(data):
            return None
        with _damage_is_ours(kind):
            return picture(data, kind, settings, self.memory, Cancellation(), long_side=long_side, mode="L")


def is_document(data: bytes) -> bool:
    """Whether a file may have many pages, so that opening it may take long: PDF and TIFF."""
    return sniff(data) in ("PDF", "TIFF")


def _numbered(page: Page, index: int) -> Page:
    return replace(page, index=index, notices=tuple(replace(n, page=index) for n in page.notices))


@contextmanager
def _damage_is_ours(kind: str) -> Iterator[None]:
    """Decoders raise nearly every class there is on damaged bytes; whatever it is, the file cannot be read."""
    try:
        yield
    except (HunyuanOcrError, WorkCancelled):
        raise
    except Exception as e:
        raise UnreadableImage(f"The {kind} cannot be decoded ({type(e).__name__}: {str(e)[:120]}).") from e
