"""The text layer of a PDF page: runs of characters with their boxes in pixels of the rendered page. Part of the child process."""

from __future__ import annotations

import ctypes
import json
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pypdfium2

MAX_CHARACTERS = 60_000  # of a page; a page with more is read from its pixels
_MAX_RUN = 400  # characters of a run
_SUBPIXELS = 8  # PDFium returns device coordinates as integers
_MAX_SLANT = 0.09  # radians; characters at another angle are left to OCR
_COLUMN_GAP = 0.9  # in heights of the characters: a wider gap separates two runs
_WORD_GAP = 0.3
_INVISIBLE = (3, 7)  # text rendering modes that draw nothing (ISO 32000-1, table 106): a scanner's own OCR, or a deception


Device = Callable[[float, float], tuple[float, float]]  # points of the page → pixels


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

    at_x, at_y = ctypes.c_int(), ctypes.c_int()

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
        elif _is_drawn_upright(layer, index, turn):
            yield _placed(layer, index, text, device)


def _is_drawn_upright(layer: pypdfium2.PdfTextPage, index: int, turn: float) -> bool:
    """Return whether a character is drawn at all, and along the rows of the page, which is turned by `turn` radians."""
    import pypdfium2.raw as pdfium  # noqa: PLC0415

    part = pdfium.FPDFText_GetTextObject(layer, index)
    if part and pdfium.FPDFTextObj_GetTextRenderMode(part) in _INVISIBLE:
        return False
    angle = pdfium.FPDFText_GetCharAngle(layer, index)
    return angle < 0 or abs(math.remainder(angle - turn, math.tau)) <= _MAX_SLANT  # negative: unknown


def _placed(layer: pypdfium2.PdfTextPage, index: int, text: str, device: Device) -> _Character:
    """Return a character with its place in pixels: as wide as its advance (a narrow 1 as a 0), as high as its ink."""
    import pypdfium2.raw as pdfium  # noqa: PLC0415

    left, low, right, high = layer.get_charbox(index)
    start, _, end, _ = layer.get_charbox(index, loose=True)
    margin = high - low  # the advance of a font for upright writing is not horizontal
    (a, b), (c, d) = device(max(start, left - margin), low), device(min(end, right + margin), high)
    origin_x, origin_y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(layer, index, ctypes.byref(origin_x), ctypes.byref(origin_y))
    return _Character(text, min(a, c), min(b, d), max(a, c), max(b, d), device(origin_x.value, origin_y.value)[1])


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
    adjacent = -0.6 * height < c.left - run.right < _COLUMN_GAP * height
    return adjacent and abs(run.base - c.base) < 0.35 * height and len(run.text) < _MAX_RUN


def _joined(run: _Character, c: _Character) -> _Character:
    latin = max(ord(run.text[-1]), ord(c.text)) < 0x2E80
    wide = c.left - run.right > _WORD_GAP * max(run.bottom - run.top, c.bottom - c.top)
    text = run.text + (" " if wide and latin and not run.text.endswith(" ") else "") + c.text
    return _Character(
        text, min(run.left, c.left), min(run.top, c.top), max(run.right, c.right), max(run.bottom, c.bottom), run.base
    )
