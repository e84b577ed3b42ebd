"""The text layer of a PDF page: runs of characters with their boxes in pixels of the rendered page. Part of the child process."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pypdfium2

MAX_CHARACTERS = 60_000  # of a page; a page with more is read from its pixels
_SUBPIXELS = 8  # PDFium returns device coordinates as integers
_MAX_SLANT = 0.09  # radians; characters at another angle are left to OCR
_COLUMN_GAP = 0.9  # in heights of the characters: a wider gap separates two runs
_WORD_GAP = 0.3


class _Character(NamedTuple):
    """A character or a run of them; `base` is the y of its baseline."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    base: float


def text_layer(page: pypdfium2.PdfPage, columns: int, rows: int) -> bytes:
    """Return the runs as JSON, [[text, left, top, right, bottom], …], in pixels of a rendering of `columns` × `rows`."""
    layer = page.get_textpage()
    try:
        if layer.count_chars() > MAX_CHARACTERS:
            return b"[]"
        runs = [[run.text, *(round(edge, 1) for edge in run[1:5])] for run in _runs(_characters(page, layer, columns, rows))]
        return json.dumps(runs, ensure_ascii=False).encode()
    finally:
        layer.close()


def _characters(page: pypdfium2.PdfPage, layer: pypdfium2.PdfTextPage, columns: int, rows: int) -> Iterator[_Character | None]:
    """Yield the upright characters in the order of the file; None where a line ends."""
    import pypdfium2.raw as pdfium  # noqa: PLC0415 -- loaded by the child process only

    at_x, at_y, origin_x, origin_y = ctypes.c_int(), ctypes.c_int(), ctypes.c_double(), ctypes.c_double()

    def device(x: float, y: float) -> tuple[float, float]:
        size = (columns * _SUBPIXELS, rows * _SUBPIXELS)
        pdfium.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, ctypes.byref(at_x), ctypes.byref(at_y))
        return at_x.value / _SUBPIXELS, at_y.value / _SUBPIXELS

    turn = math.radians(page.get_rotation())
    for index in range(layer.count_chars()):
        code = pdfium.FPDFText_GetUnicode(layer, index)
        text = chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
        if text in "\r\n\x02":
            yield None
            continue
        angle = pdfium.FPDFText_GetCharAngle(layer, index)
        slant = math.remainder(angle - turn, math.tau)
        if angle >= 0 and abs(slant) > _MAX_SLANT:
            continue
        x0, _, x1, _ = layer.get_charbox(index, loose=True)  # the advance: a narrow 1 is as wide as a 0
        _, y0, _, y1 = layer.get_charbox(index)
        (a, b), (c, d) = device(x0, y0), device(x1, y1)
        pdfium.FPDFText_GetCharOrigin(layer, index, ctypes.byref(origin_x), ctypes.byref(origin_y))
        base = device(origin_x.value, origin_y.value)[1]
        yield _Character(text, min(a, c), min(b, d), max(a, c), max(b, d), base)


def _runs(characters: Iterator[_Character | None]) -> Iterator[_Character]:
    """Join characters of one row without a wide gap; insert spaces where a gap separates words."""
    run: _Character | None = None
    for c in characters:
        if c is not None and c.text.isspace():
            run = None if run is None else run._replace(text=run.text.rstrip() + " ")
            continue
        if run is not None and (c is None or not _continues(run, c)):
            yield run._replace(text=run.text.strip())
            run = None
        if c is not None:
            run = c if run is None else _joined(run, c)
    if run is not None:
        yield run._replace(text=run.text.strip())


def _continues(run: _Character, c: _Character) -> bool:
    height = max(run.bottom - run.top, c.bottom - c.top, 1.0)
    return abs(run.base - c.base) < 0.35 * height and -0.6 * height < c.left - run.right < _COLUMN_GAP * height


def _joined(run: _Character, c: _Character) -> _Character:
    latin = max(ord(run.text[-1]), ord(c.text)) < 0x2E80
    wide = c.left - run.right > _WORD_GAP * max(run.bottom - run.top, c.bottom - c.top)
    text = run.text + (" " if wide and latin and not run.text.endswith(" ") else "") + c.text
    return _Character(
        text, min(run.left, c.left), min(run.top, c.top), max(run.right, c.right), max(run.bottom, c.bottom), run.base
    )
