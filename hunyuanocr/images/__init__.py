"""Decode bytes into upright RGB pages.

The type is detected from the content, and limits are checked before decoding. A server uses one `ImageDecoder`; the functions
here are for programs that open single files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.config import ImageSettings
from hunyuanocr.images.cancellation import Cancellation, WorkCancelled
from hunyuanocr.images.codes import find_codes
from hunyuanocr.images.decoder import ImageDecoder, is_document
from hunyuanocr.images.kinds import sniff
from hunyuanocr.types import Page

__all__ = [
    "Cancellation",
    "ImageDecoder",
    "WorkCancelled",
    "find_codes",
    "is_document",
    "load_gray_thumbnail",
    "open_documents",
    "open_pages",
    "sniff",
]


def open_pages(data: bytes, settings: ImageSettings) -> tuple[Page, ...]:
    """Decode one file; see `ImageDecoder.open_pages`. A PDF starts a process, which takes 0.2 s."""
    with ImageDecoder(settings) as decoder:
        return decoder.open_pages(data)


def open_documents(pictures: Sequence[bytes], settings: ImageSettings) -> tuple[Page, ...]:
    """Decode several files; see `ImageDecoder.open_all`."""
    with ImageDecoder(settings) as decoder:
        return decoder.open_all(pictures)


def load_gray_thumbnail(data: bytes, settings: ImageSettings, long_side: int) -> tuple[NDArray[np.uint8], int, int] | None:
    """Decode a small gray version; see `ImageDecoder.load_gray_thumbnail`."""
    with ImageDecoder(settings) as decoder:
        return decoder.load_gray_thumbnail(data, long_side, settings.max_bytes)
