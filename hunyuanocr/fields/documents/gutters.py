"""Empty bands of a page, at any slope that papers have in a photo, which may separate two documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Line

_SLOPES = tuple(np.tan(np.radians(degrees)) for degrees in (0, 2, -2, 4, -4, 7, -7, 10, -10, 14, -14, 18, -18))
_MIN_COLUMN_GAP = 1.0  # width of the band between papers side by side, in heights of a line
_MIN_ROW_GAP = 2.5  # height of the band between one paper and the next below it
_MIN_LINES = 3  # of a document


@dataclass(frozen=True)
class Gutter:
    """An empty band: the lines before it (left or above), those after it, and its width in heights of a line."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    width: float
    vertical: bool


def find_gutters(lines: Sequence[Line]) -> Iterator[Gutter]:
    """Yield the bands that no line crosses, the widest first, those between columns before those between rows."""
    corners = np.array([line.box for line in lines], dtype=np.float64)
    height = float(np.median(_heights(corners)))
    for vertical, least in ((True, _MIN_COLUMN_GAP), (False, _MIN_ROW_GAP)):
        found = {g.before: g for slope in _SLOPES for g in _bands(corners, float(slope), height, least, vertical=vertical)}
        yield from sorted(found.values(), key=lambda g: -g.width)


def _heights(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    edges: NDArray[np.float64] = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    return np.maximum(np.minimum(edges[:, 0], edges[:, 1]), 1.0)


def _bands(corners: NDArray[np.float64], slope: float, height: float, least: float, *, vertical: bool) -> Iterator[Gutter]:
    x, y = corners[..., 0], corners[..., 1]
    across = x + slope * y if vertical else y - slope * x
    low, high = across.min(1), across.max(1)
    order = np.argsort(low, kind="stable")
    reach = np.maximum.accumulate(high[order])
    gaps = (low[order][1:] - reach[:-1]) / height
    for cut in np.flatnonzero(gaps >= least) + 1:
        before, after = sorted(order[:cut].tolist()), sorted(order[cut:].tolist())
        if min(len(before), len(after)) >= _MIN_LINES:
            yield Gutter(tuple(before), tuple(after), float(gaps[cut - 1]), vertical)
