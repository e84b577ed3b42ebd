"""Very long and very wide pages in overlapping strips, so that detection sees their letters at full size in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Quads = NDArray[np.float32]  # [n, 4, 2]

_MIN_RATIO = 4.0  # of the sides of a page that is read in strips
_MIN_REDUCTION = 2.2  # by which detection in one piece would reduce it
_OVERLAP = 0.12  # of a strip
_EDGE = 4.0  # pixels from the edge of a strip: a line that begins there is cut
_SAME = 0.5  # share of the smaller box that two strips' boxes of one line have in common


def strips(columns: int, rows: int, long_side: int, pixels: int) -> list[tuple[int, int]]:
    """Return the ranges of a page's longer side, in pixels, that are read one by one; none for an ordinary page.

    A strip is at most `long_side` long and has at most `pixels` pixels; neighbours overlap by more than the height of a line.
    """
    short, long = sorted((columns, rows))
    size = min(long_side, pixels // max(short, 1))
    if long < _MIN_RATIO * short or long < _MIN_REDUCTION * size or size < 2 * short:
        return []
    number = -(-(long - round(_OVERLAP * size)) // (size - round(_OVERLAP * size)))
    step = (long - size) / (number - 1)
    return [(round(n * step), round(n * step) + size) for n in range(number)]


def merge_strips(found: Sequence[Quads], ranges: Sequence[tuple[int, int]], axis: int) -> Quads:
    """Return the quads of all strips, in page pixels: those of one line, cut at an edge or found twice, become one.

    `axis`: 0 if the strips are side by side, 1 if they are one below the other.
    """
    merged: list[NDArray[np.float32]] = []
    lines: dict[int, NDArray[np.float32]] = {}  # of the previous strip: index in `merged`, quad
    for quads, (start, _) in zip(found, ranges, strict=True):
        here: dict[int, NDArray[np.float32]] = {}
        for quad in quads:
            same = [n for n in lines if _is_same(merged[n], quad, start, axis)]
            if not same:
                merged.append(quad)
                here[len(merged) - 1] = quad
                continue
            whole = _rectangle(np.concatenate([quad, *(merged[n] for n in same)]))
            for n in same:
                merged[n] = here[n] = whole
        lines = here
    kept = list({id(quad): quad for quad in merged}.values())  # parts of one line share its quad
    return np.stack(kept) if kept else np.zeros((0, 4, 2), np.float32)


def _is_same(one: NDArray[np.float32], other: NDArray[np.float32], start: int, axis: int) -> bool:
    """Return whether a quad and one of the following strip, which begins at `start`, are one line: the same box, or two parts."""
    low, high = np.maximum(one.min(0), other.min(0)), np.minimum(one.max(0), other.max(0))
    shared = np.clip(high - low, 0, None)
    smaller = np.minimum(np.ptp(one, axis=0), np.ptp(other, axis=0))
    if float(shared.prod()) > _SAME * float(smaller.prod()) > 0:
        return True
    size = np.ptp(other, axis=0)
    cut = float(other[:, axis].min()) <= start + _EDGE and size[axis] > size[1 - axis]  # a line that runs along the page
    return bool(cut) and float(shared[axis]) > 0 and float(shared[1 - axis]) > _SAME * float(smaller[1 - axis])


def _rectangle(points: NDArray[np.float32]) -> NDArray[np.float32]:
    corners: NDArray[np.float32] = cv2.boxPoints(cv2.minAreaRect(points)).astype(np.float32)
    return corners
