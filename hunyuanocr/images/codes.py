"""QR and bar codes of pages, found by zxing-cpp (https://github.com/zxing-cpp/zxing-cpp)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence

import numpy as np
import zxingcpp
from zxingcpp import BarcodeFormat

from hunyuanocr.images.cancellation import Cancellation
from hunyuanocr.images.payloads import parse_payload
from hunyuanocr.types import Code, Page, Point, Quad

_LINEAR = (BarcodeFormat.EANUPC, BarcodeFormat.Code128, BarcodeFormat.Code39, BarcodeFormat.ITF)
_MATRIX = (BarcodeFormat.QRCode, BarcodeFormat.DataMatrix, BarcodeFormat.PDF417, BarcodeFormat.Aztec)
_FORMATS = zxingcpp.BarcodeFormats([*_LINEAR, *_MATRIX])  # each further one takes time
_MAX_PIXELS = 16_000_000  # of a larger page, every second or third one is used
_MAX_CODES = 100  # of all pages
_MAX_LENGTH = 8_000  # characters; the largest QR code has 7,089 digits
_MIN_LINEAR = 4  # characters: a pattern of a few bars is not a code
_BASE_S, _PAGE_S = 2.0, 0.3  # time limit of the search: at the start and for each page; a usual page takes 0.02 s
# Control characters, except tab, line breaks and the separator of GS1, and characters that change the direction of writing.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1c\x1e\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def find_codes(pages: Sequence[Page], cancellation: Cancellation | None = None) -> tuple[Code, ...]:
    """Return the codes of all pages, from top to bottom, at most 100. Blocking, without the global interpreter lock.

    The search ends before the next page if it took too long: a page that was made to delay it takes seconds. Raise WorkCancelled
    after `cancellation.cancel()`.
    """
    cancellation = cancellation or Cancellation()
    deadline = time.monotonic() + _BASE_S + _PAGE_S * len(pages)
    found: list[Code] = []
    for page in pages:
        cancellation.check()
        if time.monotonic() > deadline:
            break
        codes = sorted(_codes(page), key=lambda code: (min(y for _, y in code.box), min(x for x, _ in code.box)))
        found += codes[: _MAX_CODES - len(found)]
    return tuple(found)


def _codes(page: Page) -> Iterator[Code]:
    step = math.ceil((page.pixels.shape[0] * page.pixels.shape[1] / _MAX_PIXELS) ** 0.5)
    pixels = np.ascontiguousarray(page.pixels[::step, ::step])
    view = zxingcpp.ImageView(pixels, pixels.shape[1], pixels.shape[0], zxingcpp.ImageFormat.RGB)
    for barcode in zxingcpp.read_barcodes(view, formats=_FORMATS, try_invert=False):
        text = _UNSAFE.sub("\ufffd", barcode.text)[:_MAX_LENGTH]
        if not text or (barcode.symbology in _LINEAR and len(text) < _MIN_LINEAR):
            continue
        box = page.to_original([(x * step, y * step) for x, y in _corners(barcode.position)])
        yield Code(barcode.format.name, text, box, page.index, parse_payload(text))


def _corners(position: zxingcpp.Position) -> Quad:
    """Return the corners clockwise from the top left one of the picture; a code may stand in any direction or be mirrored."""
    corners = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    points: list[Point] = [(float(p.x), float(p.y)) for p in corners]
    area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
    if area < 0:
        points.reverse()
    first = min(range(4), key=lambda i: sum(points[i]))
    a, b, c, d = points[first:] + points[:first]
    return a, b, c, d
