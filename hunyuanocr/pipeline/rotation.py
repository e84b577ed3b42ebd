"""Pages that were photographed sideways or upside down.

A backend recognises them and returns boxes in the coordinates of the image, but field extraction needs "right of" and "below" in
reading direction. `to_upright` rotates the boxes before extraction, `to_original` rotates those of the fields back.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from hunyuanocr.types import Alternative, Field, Line, Quad

Size = tuple[int, int]  # width and height in pixels
_MIN_LINES = 4  # of a page, to judge its rotation by their order
_MIN_CORRELATION = 0.6  # of the lines' order with their position


def detect_rotation(lines: Sequence[Line]) -> int:
    """Return the rotation of one page, judged by the order of its lines, in quarter turns to the right that bring it upright.

    0: upright; 1: text runs upwards; 2: upside down; 3: text runs downwards.
    """
    usable = [n for n in lines if len(n.text) > 2]
    if len(usable) < _MIN_LINES:
        return 0
    sideways = statistics.median(_height(n.box) - _width(n.box) for n in usable) > 0
    positions = [statistics.fmean(p[0 if sideways else 1] for p in n.box) for n in usable]
    if max(positions) - min(positions) < 1:
        return 0
    order = statistics.correlation(list(range(len(positions))), positions)
    if sideways:
        return 1 if order > _MIN_CORRELATION else 3 if order < -_MIN_CORRELATION else 0
    return 2 if order < -_MIN_CORRELATION else 0


def to_upright(lines: Sequence[Line], sizes: Sequence[Size]) -> tuple[tuple[Line, ...], tuple[Size, ...], tuple[int, ...]]:
    """Return lines and page sizes of the upright pages, and the quarter turns of each page, for `to_original`."""
    turns = tuple(detect_rotation([n for n in lines if n.page == page]) for page in range(len(sizes)))
    upright = tuple(replace(n, box=_rotated(n.box, turns[n.page], sizes[n.page])) if turns[n.page] else n for n in lines)
    return upright, tuple((h, w) if turn % 2 else (w, h) for (w, h), turn in zip(sizes, turns, strict=True)), turns


def to_original(fields: Sequence[Field], sizes: Sequence[Size], turns: Sequence[int]) -> tuple[Field, ...]:
    """Return the fields with their boxes in image coordinates; `sizes` and `turns` are those of `to_upright`."""
    return tuple(_rotated_back(f, sizes, turns) for f in fields)


def to_original_box(box: Quad, page: int, sizes: Sequence[Size], turns: Sequence[int]) -> Quad:
    """Return a box of an upright page in image coordinates."""
    return _rotated(box, 4 - turns[page], sizes[page]) if turns[page] else box


def _rotated_back(field: Field, sizes: Sequence[Size], turns: Sequence[int]) -> Field:
    rows = field.rows and tuple({k: _rotated_back(v, sizes, turns) for k, v in row.items()} for row in field.rows)
    if field.alternatives:
        field = replace(field, alternatives=tuple(_alternative_back(a, sizes, turns) for a in field.alternatives))
    if field.box is None or not turns[field.page or 0]:
        return replace(field, rows=rows)
    return replace(field, rows=rows, box=to_original_box(field.box, field.page or 0, sizes, turns))


def _alternative_back(found: Alternative, sizes: Sequence[Size], turns: Sequence[int]) -> Alternative:
    page = found.page or 0
    if found.box is None or not turns[page]:
        return found
    return replace(found, box=_rotated(found.box, 4 - turns[page], sizes[page]))


def _rotated(box: Quad, turn: int, size: Size) -> Quad:
    """Return the box after `turn` quarter turns of its page to the right, from the top-left corner; `size` is the page's."""
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
