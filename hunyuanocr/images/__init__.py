"""Bytes → upright RGB pages: the type is sniffed, limits are checked before anything is decoded, damage is an error of ours.

A process that serves has one `ImageDecoder`; the functions here are for programs that open a file now and then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.config import ImageSettings
from hunyuanocr.images.cancellation import Cancellation, WorkCancelled
from hunyuanocr.images.decoder import ImageDecoder, is_document
from hunyuanocr.images.kinds import sniff
from hunyuanocr.types import Page

__all__ = [
    "Cancellation",
    "ImageDecoder",
    "WorkCancelled",
    "is_document",
    "load_gray_thumbnail",
    "open_documents",
    "open_pages",
    "sniff",
]


def open_pages(data: bytes, settings: ImageSettings) -> tuple[Page, ...]:
    """As `ImageDecoder.open_pages`; a PDF costs the start of a process, 0.2 s."""
    with ImageDecoder(settings) as decoder:
        return decoder.open_pages(data)


def open_documents(pictures: Sequence[bytes], settings: ImageSettings) -> tuple[Page, ...]:
    """As `ImageDecoder.open_documents`."""
    with ImageDecoder(settings) as decoder:
        return decoder.open_all(pictures)


def load_gray_thumbnail(data: bytes, settings: ImageSettings, long_side: int) -> tuple[NDArray[np.uint8], int, int] | None:
    """As `ImageDecoder.load_gray_thumbnail`."""
    with ImageDecoder(settings) as decoder:
        return decoder.glance(data, long_side, settings.max_bytes)
