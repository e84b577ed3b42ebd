"""Pages that were photographed sideways or upside down: a reader reads them all the same and answers boxes of the picture as it
lies, but "right of" and "below" are those of the person who reads. Fields are looked for in that person's view.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from hunyuanocr.types import Field, Line, Quad

Size = tuple[int, int]  # width and height in pixels
_MIN_LINES = 4  # lines of a page from which their order tells how it lies
_SURE = 0.6  # correlation of the order with the place


def detect_rotation(lines: Sequence[Line]) -> int:
    """How one page lies, by the order in which its lines were read: 0 upright, 1 its text runs upwards, 2 upside down, 3 its
    text runs downwards.
    """
    told = [n for n in lines if len(n.text) > 2]
    if len(told) < _MIN_LINES:
        return 0
    upward = statistics.median(_height(n.box) - _width(n.box) for n in told) > 0
    places = [statistics.fmean(p[0 if upward else 1] for p in n.box) for n in told]
    if max(places) - min(places) < 1:
        return 0
    order = statistics.correlation(list(range(len(places))), places)
    if upward:
        return 1 if order > _SURE else 3 if order < -_SURE else 0
    return 2 if order < -_SURE else 0


def to_upright(lines: Sequence[Line], sizes: Sequence[Size]) -> tuple[tuple[Line, ...], tuple[Size, ...], tuple[int, ...]]:
    """Lines and page sizes in the view of the person who reads, and the turn of each page, for `to_original`."""
    turns = tuple(detect_rotation([n for n in lines if n.page == page]) for page in range(len(sizes)))
    seen = tuple(replace(n, box=_turned(n.box, turns[n.page], sizes[n.page])) if turns[n.page] else n for n in lines)
    return seen, tuple((h, w) if turn % 2 else (w, h) for (w, h), turn in zip(sizes, turns, strict=True)), turns


def to_original(fields: Sequence[Field], sizes: Sequence[Size], turns: Sequence[int]) -> tuple[Field, ...]:
    """The fields with their boxes back on the picture; `sizes` are those of `to_upright`."""
    return tuple(_back(f, sizes, turns) for f in fields)


def _back(field: Field, sizes: Sequence[Size], turns: Sequence[int]) -> Field:
    rows = field.rows and tuple({k: _back(v, sizes, turns) for k, v in row.items()} for row in field.rows)
    if field.box is None or not turns[field.page or 0]:
        return replace(field, rows=rows)
    page = field.page or 0
    return replace(field, rows=rows, box=_turned(field.box, 4 - turns[page], sizes[page]))


def _turned(box: Quad, turn: int, size: Size) -> Quad:
    """The box after a quarter turn to the right for each one in `turn`, of a page of this size; top-left corner first."""
    width, height = size
    points = list(box)
    for _ in range(turn):
        points = [(round(height - y, 1), x) for x, y in points]
        width, height = height, width
    first = min(range(4), key=lambda i: points[i][0] + points[i][1])
    a, b, c, d = points[first:] + points[:first]
    return a, b, c, d


def _width(box: Quad) -> float:
    return max(p[0] for p in box) - min(p[0] for p in box)


def _height(box: Quad) -> float:
    return max(p[1] for p in box) - min(p[1] for p in box)
