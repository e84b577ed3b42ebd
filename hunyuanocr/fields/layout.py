"""Page layout: segments of lines with their boxes, and lines grouped into rows on pages with skew or perspective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Line, Point, Quad


@dataclass(frozen=True)
class TextSegment:
    """Characters `start` … `end` of the line with index `line`.

    `x0`, `x1` are its left and right end, `y` its centre with the page's slope removed, `h` the height of its letters; in pixels.
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


def relative_char_width(c: str) -> float:
    """Return the width of a character relative to a Chinese one; Latin letters are about half as wide in print."""
    if ord(c) > 0x2E80:
        return 1.0
    if c.isspace() or c in ".,:;'|!il()[]":
        return 0.35
    return 0.65 if c.isupper() else 0.55


def _edges(text: str) -> list[float]:
    """Return the left edge of each character and the right edge of the last one, [len + 1], in Chinese characters."""
    return list(accumulate(map(relative_char_width, text), initial=0.0))


def _between(a: Point, b: Point, share: float) -> Point:
    return (round(a[0] + (b[0] - a[0]) * share, 1), round(a[1] + (b[1] - a[1]) * share, 1))


def segment_box(line: Line, start: int, end: int, edges: Sequence[float] | None = None) -> Quad:
    """Return the box of characters `start` … `end` of a line: a part of its box, in proportion to the characters' widths.

    `edges` are those of all characters, if the caller has cached them.
    """
    if start <= 0 and end >= len(line.text):
        return line.box
    edges = _edges(line.text) if edges is None else edges
    length, total = len(line.text), edges[-1] or 1.0
    first, last = edges[min(max(start, 0), length)] / total, edges[min(max(end, 0), length)] / total
    tl, tr, br, bl = line.box
    return _between(tl, tr, first), _between(tl, tr, last), _between(bl, br, last), _between(bl, br, first)


def union_box(boxes: Sequence[Quad]) -> Quad:
    """Return a single box unchanged, several boxes as the upright rectangle around them."""
    if len(boxes) == 1:
        return boxes[0]
    xs, ys = [p[0] for b in boxes for p in b], [p[1] for b in boxes for p in b]
    return (min(xs), min(ys)), (max(xs), min(ys)), (max(xs), max(ys)), (min(xs), max(ys))


def _ends(box: Quad) -> tuple[Point, Point, float]:
    """Return the centre of the left side, the centre of the right side, and the height."""
    tl, tr, br, bl = box
    left, right = ((tl[0] + bl[0]) / 2, (tl[1] + bl[1]) / 2), ((tr[0] + br[0]) / 2, (tr[1] + br[1]) / 2)
    return left, right, max((math.dist(tl, bl) + math.dist(tr, br)) / 2, 1.0)  # a backend may return boxes without height


def _slopes(boxes: Sequence[Quad]) -> NDArray[np.float64]:
    """Return the slope of the text at each line, [n], in pixels down per pixel to the right: skew, perspective, curled paper.

    It is the mean slope of the lines nearby, weighted by their widths, because the slope of a short line is mostly noise.
    """
    if not boxes:
        return np.zeros(0)
    ends = [_ends(box) for box in boxes]
    left, right = np.array([e[0] for e in ends]), np.array([e[1] for e in ends])
    height = np.array([e[2] for e in ends])
    width = np.maximum(right[:, 0] - left[:, 0], 1.0)
    slope = (right[:, 1] - left[:, 1]) / width
    weight = np.where(width > 2 * height, width, 0.0)
    if weight.any():  # ignore lines whose box has a wrong angle
        weight = np.where(np.abs(slope - np.median(slope[weight > 0])) < 0.1, weight, 0.0)
    if not weight.any():
        return np.zeros(len(boxes))
    middle, reach = (left + right) / 2, 4 * float(np.median(height))
    spread = max(float(np.ptp(middle[:, 0])), reach)
    down = (middle[:, None, 1] - middle[None, :, 1]) / reach
    across = (middle[:, None, 0] - middle[None, :, 0]) / spread
    near = np.exp(-0.5 * (down**2 + across**2)) * weight[None, :] + 1e-9 * weight[None, :]
    return np.asarray((near * slope[None, :]).sum(1) / near.sum(1), dtype=np.float64)


class Layout:
    """The lines of all pages as rows of segments; reading order is page, row, then left to right."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = tuple(lines)
        self._edges_of: dict[int, list[float]] = {}
        self._slope = [0.0] * len(self.lines)
        self._centre: dict[int, float] = {}
        for page in sorted({line.page for line in lines}):
            numbers = [n for n, line in enumerate(lines) if line.page == page]
            for n, slope in zip(numbers, _slopes([lines[n].box for n in numbers]), strict=True):
                self._slope[n] = float(slope)
            self._centre[page] = float(np.median([p[0] for n in numbers for p in lines[n].box]))
        self._row_of: dict[int, int] = {}
        whole = [self.segment(i, 0, len(line.text)) for i, line in enumerate(self.lines) if line.text.strip()]
        self.height = float(np.median([c.h for c in whole])) if whole else 1.0
        self._edges = {
            page: (min(c.x0 for c in whole if c.page == page), max(c.x1 for c in whole if c.page == page))
            for page in {c.page for c in whole}
        }
        grouped = self._group(whole)
        self._row_of = {c.line: n for n, row in enumerate(grouped) for c in row}
        self.rows = [[self.segment(c.line, 0, c.end) for c in row] for row in grouped]

    def segment(self, line: int, start: int, end: int) -> TextSegment:
        """Return a part of a line, without leading and trailing spaces."""
        of = self.lines[line]
        text = of.text[start:end]
        start += len(text) - len(text.lstrip())
        end = start + len(text.strip())
        left, right, height = _ends(self._part_box(line, start, end))
        middle = (left[0] + right[0]) / 2
        y = (left[1] + right[1]) / 2 - self._slope[line] * (middle - self._centre[of.page])
        return TextSegment(
            line, start, end, of.text[start:end], of.page, left[0], right[0], y, height, self._row_of.get(line, -1)
        )

    def wraps(self, upper: TextSegment, lower: TextSegment) -> bool:
        """Return whether the lower line may continue the upper one: adjacent, of equal height, its first word did not fit."""
        near = 0 < lower.y - upper.y < 2.0 * max(upper.h, lower.h) and upper.page == lower.page
        if not near or not 0.8 < upper.h / lower.h < 1.25:
            return False
        left, right = self._edges[upper.page]
        first = lower.text.split()[0] if lower.text.split()[0].isascii() else lower.text[0]
        share = sum(map(relative_char_width, first)) / (sum(map(relative_char_width, lower.text)) or 1.0)
        return (upper.x1 - upper.x0) + share * (lower.x1 - lower.x0) > 0.93 * (right - left)

    def _group(self, cells: Sequence[TextSegment]) -> list[list[TextSegment]]:
        """Group segments into rows from left to right: each joins the row whose last segment points at it best."""
        rows: list[list[TextSegment]] = []
        for cell in sorted(cells, key=lambda c: c.x0):
            best, distance = None, 0.55
            for row in rows:
                last = row[-1]
                overlap = last.x1 - cell.x0
                far = abs(last.y - cell.y) > 4 * max(last.h, cell.h)  # more than a remaining slope can explain
                if far or last.page != cell.page or overlap > 0.4 * min(cell.x1 - cell.x0, last.x1 - last.x0):
                    continue
                apart = self._apart(last, cell) / min(cell.h, last.h)
                if apart < distance:
                    best, distance = row, apart
            if best is None:
                rows.append([cell])
            else:
                best.append(cell)
        return sorted(rows, key=lambda row: (row[0].page, sum(c.y for c in row) / len(row)))

    def _apart(self, last: TextSegment, cell: TextSegment) -> float:
        """Return the vertical distance of the segment from the extension of the previous line, in pixels."""
        right, left = _ends(self.lines[last.line].box)[1], _ends(self.lines[cell.line].box)[0]
        slope = (self._slope[last.line] + self._slope[cell.line]) / 2
        return abs(left[1] - right[1] - slope * (left[0] - right[0]))

    def box(self, cell: TextSegment) -> Quad:
        """Return the box of a segment in pixels of the original page."""
        return self._part_box(cell.line, cell.start, cell.end)

    def _part_box(self, line: int, start: int, end: int) -> Quad:
        if line not in self._edges_of:
            self._edges_of[line] = _edges(self.lines[line].text)
        return segment_box(self.lines[line], start, end, self._edges_of[line])
