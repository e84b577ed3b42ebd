"""The text layer of a rendered PDF page as lines: only text that is visible on the page, and only if its encoding is sound."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.images.pdf_process import TextRun
from hunyuanocr.types import Line, Quad

_MAX_UNREADABLE = 0.1  # share of characters without a meaning, from which the encoding of the fonts is broken
_MAX_LINES = 1000  # of a page; one with more is read by OCR
_MIN_CONTRAST = 24  # grey levels between the darkest and the brightest pixel under visible text


def text_lines(runs: Sequence[TextRun], pixels: NDArray[np.uint8], width: int, height: int, page: int) -> tuple[Line, ...]:
    """Return the visible runs as lines with boxes in pixels of the original (`width` × `height`).

    `pixels` is the rendered page, uint8 [h, w, 3]. No line is returned if the fonts map characters to nothing, so that the page
    is read by OCR. Text without ink under it (an invisible layer, white on white) is not printed and therefore omitted.
    """
    letters = [c for run in runs for c in run[0] if not c.isspace()]
    unreadable = sum(map(_is_meaningless, letters))
    if not letters or unreadable > _MAX_UNREADABLE * len(letters):
        return ()
    scale_x, scale_y = width / pixels.shape[1], height / pixels.shape[0]
    lines: dict[tuple[str, int, int], Line] = {}
    for text, *edges in runs:
        printed = unicodedata.normalize("NFC", " ".join("".join(" " if _is_meaningless(c) else c for c in text).split()))
        if printed and _visible(pixels, edges):
            step = max(edges[3] - edges[1], 1.0)  # some programs draw bold text twice, a little apart
            place = (printed, round(edges[0] / step), round(edges[1] / step))
            lines.setdefault(place, Line(printed, _box(edges, scale_x, scale_y, width, height), 1.0, page))
    return tuple(lines.values()) if len(lines) <= _MAX_LINES else ()


def _is_meaningless(c: str) -> bool:
    """Return whether a character is private, unassigned, a control, or the substitute of an unknown one."""
    return c == "\ufffd" or unicodedata.category(c) in ("Co", "Cn", "Cc")


def _visible(pixels: NDArray[np.uint8], edges: Sequence[float]) -> bool:
    """Return whether there is ink under a run."""
    left, top, right, bottom = (round(edge) for edge in edges)
    under = pixels[max(top - 1, 0) : bottom + 2, max(left, 0) : right + 1]
    return under.size > 0 and bool((np.ptp(under, axis=(0, 1)) >= _MIN_CONTRAST).any())


def _box(edges: Sequence[float], scale_x: float, scale_y: float, width: int, height: int) -> Quad:
    """Return the box, a little larger than the ink as those of OCR are."""
    left, top, right, bottom = edges
    margin = 0.12 * (bottom - top)
    x0, x1 = (round(min(max(x * scale_x, 0.0), width), 1) for x in (left, right))
    y0, y1 = (round(min(max(y * scale_y, 0.0), height), 1) for y in (top - margin, bottom + margin))
    return (x0, y0), (x1, y0), (x1, y1), (x0, y1)
