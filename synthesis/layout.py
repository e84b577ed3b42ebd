"""Draw the rows of a document, and measure the box of every run of text and every value from the ink."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import takewhile

import cv2
import numpy as np
from numpy.typing import NDArray

from synthesis import graphics
from synthesis.document import Cell, Document, Mark, Row
from synthesis.paper_style import Paper

Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Drawn:
    """A run of text on the sheet; `marks` are (field, box of the value)."""

    text: str
    box: Box
    marks: tuple[tuple[str, Box], ...] = ()


def draw(document: Document, paper: Paper, rng: random.Random) -> tuple[NDArray[np.uint8], list[Drawn]]:
    """Return the sheet, uint8 RGB [h, w, 3], and its runs of text from top to bottom."""
    sheet = _Sheet(paper)
    for row in document.rows:
        if row.art is not None:
            sheet.decorate(row, rng)
        else:
            sheet.write(row)
    mask, drawn = sheet.done()
    fx, fy = paper.zoom * paper.stretch, paper.zoom
    if paper.dots:
        mask = np.where(mask > 105, 255, 0).astype(np.uint8)
    height, width = mask.shape
    across, down = round(width * fx), round(height * fy)
    mask = cv2.resize(mask, (across, down), interpolation=cv2.INTER_AREA if fy < 0.9 else cv2.INTER_LINEAR)
    fx, fy = across / width, down / height  # the scale after rounding to whole pixels
    shades = np.linspace(0, 1, 256)[:, None]  # from paper to ink
    printed = (np.array(paper.tint) * (1 - shades) + np.array(paper.ink) * shades).astype(np.uint8)[mask]
    drawn = [
        replace(run, box=_scaled(run.box, fx, fy), marks=tuple((name, _scaled(box, fx, fy)) for name, box in run.marks))
        for run in drawn
    ]
    if document.seal is not None:
        at = (round(width * fx * rng.uniform(0.45, 0.8)), round(height * fy * rng.uniform(0.72, 0.85)))
        radius = round(paper.em * paper.zoom * rng.uniform(2.2, 3.0))
        box = graphics.draw_seal(printed, document.seal, paper.face, at=at, radius=radius, strength=rng.uniform(0.55, 0.8))
        drawn.append(Drawn(document.seal, box))
    return printed, drawn


def _scaled(box: Box, fx: float, fy: float) -> Box:
    left, top, right, bottom = box
    return (left * fx, top * fy, right * fx, bottom * fy)


class _Sheet:
    """An ink mask to which strips are appended."""

    def __init__(self, paper: Paper) -> None:
        self.paper = paper
        self.left = round(paper.margin * paper.em)
        self.width = round(paper.em * paper.printed)
        self.strips: list[NDArray[np.uint8]] = []
        self.top = 0
        self.drawn: list[Drawn] = []
        self.feed(1.5)

    def feed(self, ems: float) -> None:
        self._add(np.zeros((round(ems * self.paper.em), self.width + 2 * self.left), np.uint8))

    def _add(self, strip: NDArray[np.uint8]) -> None:
        self.strips.append(strip)
        self.top += len(strip)

    def done(self) -> tuple[NDArray[np.uint8], list[Drawn]]:
        self.feed(2.0)
        return np.concatenate(self.strips), self.drawn

    def decorate(self, row: Row, rng: random.Random) -> None:
        strip = graphics.draw_rule_or_code(row.art or "solid", self.width, self.paper.em, rng)
        self._add(np.pad(strip, ((0, 0), (self.left, self.left))))
        self.feed(row.space)

    def write(self, row: Row) -> None:
        """Draw the cells of a row; a cell that would touch its neighbour moves to the next line."""
        columns: list[list[Cell]] = []
        end = 0.0
        for cell in row.cells:
            if cell.align == "left" and cell.x > 0 and (1 - cell.x) * self.width < self._length(cell) <= self.width:
                cell = replace(cell, x=0.0, width=1.0)  # noqa: PLW2901  a cell that is too long for its column starts the next line
            parts = self._wrapped(cell)
            start = min(self._start(part) for part in parts)
            if columns and start < end + 0.6 * self.paper.em:
                self._lines(columns)
                columns = []
            columns.append(parts)
            end = max(self._start(part) + self._length(part) for part in parts)
        self._lines(columns, row.grid)
        if row.space:
            self.feed(row.space)

    def _size(self, cell: Cell) -> int:
        return round(self.paper.em * cell.scale)

    def _length(self, cell: Cell) -> float:
        return self.paper.face.length(cell.text, self._size(cell), cell.bold)

    def _start(self, cell: Cell) -> float:
        """Return the start of the text in pixels of the printed width."""
        share = {"left": 0.0, "center": 0.5, "right": 1.0}[cell.align]
        return cell.x * self.width - share * self._length(cell)

    def _wrapped(self, cell: Cell) -> list[Cell]:
        """Split a cell into the parts that its width requires."""
        room = {"left": 1.0 - cell.x, "center": 1.0, "right": cell.x}[cell.align]
        limit = min(room, cell.width) * self.width
        parts = []
        while self._length(cell) > limit:
            cut = self._cut(cell, limit)
            parts.append(_part(cell, 0, cut))
            cell = _part(cell, cut, len(cell.text))
        return [*parts, cell]

    def _cut(self, cell: Cell, limit: float) -> int:
        """Return how many letters fit; words and numbers are not split if possible."""
        text, size = cell.text, self._size(cell)
        lengths = (self.paper.face.length(text[: count + 1], size, cell.bold) for count in range(1, len(text) - 1))
        most = 1 + sum(1 for _ in takewhile(lambda length: length <= limit, lengths))
        cut = most
        while cut > 1 and _inside_word(text[cut - 1], text[cut]):
            cut -= 1
        return cut if cut > 1 else most

    def _lines(self, columns: list[list[Cell]], grid: tuple[float, ...] = ()) -> None:
        first = len(self.strips)
        for number in range(max((len(parts) for parts in columns), default=0)):
            cells = [parts[number] for parts in columns if number < len(parts) and parts[number].text.strip()]
            tallest = max((self._size(cell) for cell in cells), default=self.paper.em)
            strip = np.zeros((round(tallest * self.paper.leading), self.width + 2 * self.left), np.uint8)
            for cell in cells:
                self.drawn.append(self._put(strip, cell, baseline=round(len(strip) / 2 + 0.36 * tallest)))
            self._add(strip)
        if grid and len(self.strips) > first:
            self._rule(self.strips[first:], grid)

    def _rule(self, strips: list[NDArray[np.uint8]], grid: tuple[float, ...]) -> None:
        """Draw a table's lines around a row, in its margins, so that they do not touch letters."""
        edge = self.left - self.paper.em // 4
        ends = (edge, edge + round(self.width + self.paper.em // 2))
        for strip in strips:
            for x in grid:
                at = ends[0] + round(x * (ends[1] - ends[0] - 1))
                strip[:, at : at + 1] = 255
        strips[0][0, ends[0] : ends[1]] = 255
        strips[-1][-1, ends[0] : ends[1]] = 255

    def _put(self, strip: NDArray[np.uint8], cell: Cell, baseline: int) -> Drawn:
        """Draw a cell into the strip and measure its ink."""
        size, face = self._size(cell), self.paper.face
        ink = face.ink(cell.text, size, cell.bold)
        x, y = self.left + round(self._start(cell)) - size // 2, baseline - int(1.4 * size)
        down, up = max(0, -y), min(len(ink), len(strip) - y)
        across, back = max(0, -x), min(ink.shape[1], strip.shape[1] - x)
        ink = ink[down:up, across:back]
        x, y = x + across, y + down
        place = strip[y : y + ink.shape[0], x : x + ink.shape[1]]
        np.maximum(place, ink, out=place)

        def measured(start: int, stop: int) -> Box:
            first = size // 2 - across + face.length(cell.text[:start], size, cell.bold)
            last = size // 2 - across + face.length(cell.text[:stop], size, cell.bold)
            low, high = max(0, round(first)), max(0, round(last))
            if (start, stop) == (0, len(cell.text)):
                low, high = 0, ink.shape[1]
            left, top, right, bottom = _inked(ink[:, low:high])
            return (x + low + left, self.top + y + top, x + low + right, self.top + y + bottom)

        marks = tuple((mark.field, measured(mark.start, mark.end)) for mark in cell.marks)
        drawn = Drawn(cell.text.strip(), measured(0, len(cell.text)), marks)
        if cell.line_from is not None:
            start = self.left + round(self._start(cell) + face.length(cell.text[: cell.line_from], size, cell.bold))
            low = min(baseline + size // 4, len(strip) - 1)
            strip[low : low + 1, start : round(drawn.box[2]) + size // 2] = 255
        return drawn


def _inked(ink: NDArray[np.uint8]) -> Box:
    """Return the smallest box around the ink."""
    rows, columns = np.flatnonzero(ink.max(axis=1) > 60), np.flatnonzero(ink.max(axis=0) > 60)
    if not len(rows) or not len(columns):
        return (0.0, 0.0, float(ink.shape[1]), float(ink.shape[0]))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def _inside_word(left: str, right: str) -> bool:
    """Return whether a line must not break between two letters."""
    return (left.isascii() and right.isascii() and left != " ") or right in "，。：；）)、,."


def _part(cell: Cell, start: int, stop: int) -> Cell:
    """Return letters start…stop of a cell, without outer spaces, with the marks within them."""
    text = cell.text[start:stop]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    stop = start + len(text)
    marks = tuple(
        Mark(mark.field, max(mark.start, start) - start, min(mark.end, stop) - start)
        for mark in cell.marks
        if mark.start < stop and mark.end > start
    )
    line_from = None if cell.line_from is None else min(max(cell.line_from - start, 0), len(text))
    return replace(cell, text=text, marks=marks, line_from=line_from)
