"""Where things stand: pieces of lines with their boxes, and lines grouped to rows on pages that are skew or seen at an angle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hunyuanocr.types import Line, Point, Quad


@dataclass(frozen=True)
class Cell:
    """Characters `start` … `end` of line number `line`.

    `x0`, `x1` are its ends and `y` its middle in pixels after the page's slope is taken out; `h` is the height of its letters.
    """

    line: int
    start: int
    end: int
    text: str
    page: int
    x0: float
    x1: float
    y: float
    h: float
    row: int = -1


def char_width(c: str) -> float:
    """Share of a line that a character takes, in widths of a Chinese character: printed type is about half as wide in Latin."""
    if ord(c) > 0x2E80:
        return 1.0
    if c.isspace() or c in ".,:;'|!il()[]":
        return 0.35
    return 0.65 if c.isupper() else 0.55


def _shares(text: str, start: int, end: int) -> tuple[float, float]:
    widths = [char_width(c) for c in text]
    total = sum(widths) or 1.0
    return sum(widths[:start]) / total, sum(widths[:end]) / total


def _between(a: Point, b: Point, share: float) -> Point:
    return (round(a[0] + (b[0] - a[0]) * share, 1), round(a[1] + (b[1] - a[1]) * share, 1))


def part_box(line: Line, start: int, end: int) -> Quad:
    """The box of characters `start` … `end` of a line: the part of its box that they fill in proportion to their widths."""
    if start <= 0 and end >= len(line.text):
        return line.box
    first, last = _shares(line.text, start, end)
    tl, tr, br, bl = line.box
    return _between(tl, tr, first), _between(tl, tr, last), _between(bl, br, last), _between(bl, br, first)


def union_box(boxes: Sequence[Quad]) -> Quad:
    """One box as it is, several as the upright rectangle around them."""
    if len(boxes) == 1:
        return boxes[0]
    xs, ys = [p[0] for b in boxes for p in b], [p[1] for b in boxes for p in b]
    return (min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys))


def _ends(box: Quad) -> tuple[Point, Point, float]:
    """Middle of the left side, middle of the right side, height."""
    tl, tr, br, bl = box
    left, right = ((tl[0] + bl[0]) / 2, (tl[1] + bl[1]) / 2), ((tr[0] + br[0]) / 2, (tr[1] + br[1]) / 2)
    return left, right, (math.dist(tl, bl) + math.dist(tr, br)) / 2


@dataclass(frozen=True)
class _Slope:
    """How much a level line of print falls per pixel to the right: `base + change · y`. The change is what perspective makes."""

    base: float
    change: float
    centre: float

    @classmethod
    def of(cls, boxes: Sequence[Quad]) -> _Slope:
        rows = []
        for box in boxes:
            left, right, height = _ends(box)
            width = right[0] - left[0]
            if width > 4 * height > 0:  # short lines say little about the slope
                rows.append(((left[1] + right[1]) / 2, (right[1] - left[1]) / width, width))
        centre = float(np.median([p[0] for b in boxes for p in b])) if boxes else 0.0
        if not rows:
            return cls(0.0, 0.0, centre)
        y, slope, width = (np.array(column) for column in zip(*rows, strict=True))
        middle = float(np.median(slope))
        near = np.abs(slope - middle) < 0.08  # a line read at a wrong angle must not bend the page
        if near.sum() < 6 or np.ptp(y[near]) < 1:
            return cls(middle, 0.0, centre)
        change, base = np.polyfit(y[near], slope[near], 1, w=np.sqrt(width[near]))
        return cls(float(base), float(change), centre)

    def level(self, point: Point) -> float:
        """The height at which the point would stand on a straight page."""
        return point[1] - (self.base + self.change * point[1]) * (point[0] - self.centre)


class Layout:
    """The lines of all pages as rows of cells; reading order is page, row, then left to right."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = tuple(lines)
        self.slopes = {page: _Slope.of([x.box for x in lines if x.page == page]) for page in {x.page for x in lines}}
        whole = [self.cell(i, 0, len(line.text)) for i, line in enumerate(self.lines) if line.text.strip()]
        self.height = float(np.median([c.h for c in whole])) if whole else 1.0
        self.rows = _rows(whole)
        self._row_of = {c.line: n for n, row in enumerate(self.rows) for c in row}
        self.rows = [[self.cell(c.line, 0, c.end) for c in row] for row in self.rows]

    def cell(self, line: int, start: int, end: int) -> Cell:
        """A part of a line, without the spaces at its ends."""
        of = self.lines[line]
        text = of.text[start:end]
        start += len(text) - len(text.lstrip())
        end = start + len(text.strip())
        left, right, height = _ends(part_box(of, start, end))
        slope = self.slopes[of.page]
        y = (slope.level(left) + slope.level(right)) / 2
        row = getattr(self, "_row_of", {}).get(line, -1)
        return Cell(line, start, end, of.text[start:end], of.page, left[0], right[0], y, height, row)

    def box(self, cell: Cell) -> Quad:
        """Its box in pixels of the original page."""
        return part_box(self.lines[cell.line], cell.start, cell.end)


def _rows(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that stand beside each other, chained from left to right: each joins the row whose last cell is nearest in height."""
    rows: list[list[Cell]] = []
    for cell in sorted(cells, key=lambda c: c.x0):
        best, distance = None, math.inf
        for row in rows:
            last = row[-1]
            apart = abs(cell.y - last.y) / min(cell.h, last.h)
            overlap = last.x1 - cell.x0
            if last.page == cell.page and apart < min(distance, 0.55) and overlap < 0.4 * min(cell.x1 - cell.x0, last.x1 - last.x0):
                best, distance = row, apart
        if best is None:
            rows.append([cell])
        else:
            best.append(cell)
    return sorted(rows, key=lambda row: (row[0].page, sum(c.y for c in row) / len(row)))
