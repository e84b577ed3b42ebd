"""Candidates for values: parts of the lines of a page, and the texts around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.ranking.line_parts import KINDS, line_parts

MAX_LINES = 260  # of a request; a longer document is ranked by its first and its last lines
MAX_CANDIDATES = 450
SLOTS = ("own", "before", "left", "leftmost", "above", "header", "right", "below")
_LABEL_BEFORE = re.compile(r"[^\d]{2,40}$")


@dataclass(frozen=True)
class Candidate:
    """A part of a line, or of two lines (`second`: the whole of another line that continues it)."""

    line: int
    start: int
    end: int
    text: str
    kinds: frozenset[str]
    second: int | None = None


@dataclass(frozen=True)
class Neighbourhood:
    """The candidates of a page and what stands around them. Indices -1 mean that nothing stands there."""

    layout: Layout
    lines: tuple[TextSegment, ...]  # whole lines in reading order
    candidates: tuple[Candidate, ...]
    of_line: NDArray[np.int64]  # [candidates]: index in `lines`
    left_edge: NDArray[np.float64]  # [candidates], pixels
    right_edge: NDArray[np.float64]
    neighbours: dict[str, NDArray[np.int64]]  # slot → index in `lines` [candidates]
    y: NDArray[np.float64]  # [lines], pixels; later pages follow below
    in_row: NDArray[np.int64]  # [lines, 2]: how many lines are left and right of it


def find_candidates(layout: Layout) -> Neighbourhood | None:
    """Return the candidates of a request's lines, or None if there is nothing but signs."""
    rows = _shortened(layout.rows)
    lines = tuple(cell for row in rows for cell in row)
    if not lines:
        return None
    number = {cell.line: n for n, cell in enumerate(lines)}
    found = list(_in_lines(layout, lines))
    found += _over_two_lines(layout, lines)
    if not found:
        return None
    if len(found) > MAX_CANDIDATES:  # typed parts and the first and last lines
        order = sorted(range(len(found)), key=lambda n: (not found[n].kinds & set(KINDS), min(n, len(found) - n)))
        found = [found[n] for n in sorted(order[:MAX_CANDIDATES])]
    of_line = np.array([number[c.line] for c in found])
    left, right = _edges(lines, found, of_line)
    y = _page_offsets(lines)
    neighbours = _in_row(rows, number, of_line) | _above_and_below(lines, y, of_line, left, right)
    places = [(n, len(row) - 1 - n) for row in rows for n in range(len(row))]
    return Neighbourhood(layout, lines, tuple(found), of_line, left, right, neighbours, y, np.array(places))


def _shortened(rows: Sequence[Sequence[TextSegment]]) -> list[Sequence[TextSegment]]:
    """Return all rows; of a long document two thirds of the allowed lines from its start and one third from its end."""
    kept: list[Sequence[TextSegment]] = []
    if sum(map(len, rows)) <= MAX_LINES:
        return list(rows)
    first, last, count = 0, len(rows), 0
    while first < last and count + len(rows[first]) <= MAX_LINES * 2 // 3:
        count += len(rows[first])
        first += 1
    while last > first and count + len(rows[last - 1]) <= MAX_LINES:
        last -= 1
        count += len(rows[last])
    kept += rows[:first]
    return kept + list(rows[last:])


def _in_lines(layout: Layout, lines: Sequence[TextSegment]) -> Iterator[Candidate]:
    for cell in lines:
        text = layout.lines[cell.line].text
        for (start, end), kinds in line_parts(text).items():
            yield Candidate(cell.line, start, end, text[start:end], frozenset(kinds))


def _over_two_lines(layout: Layout, lines: Sequence[TextSegment]) -> Iterator[Candidate]:
    """Yield names that continue in the next line: among the first lines of a page, without many digits, of equal height."""
    for n, upper in enumerate(lines[:14]):
        if len(upper.text) < 3 or _digit_share(upper.text) > 0.3:
            continue
        below = [
            c
            for c in lines[max(0, n - 3) : n + 6]
            if c.page == upper.page
            and 0 < c.y - upper.y < 2.2 * upper.h
            and c.x0 < upper.x1
            and c.x1 > upper.x0
            and _digit_share(c.text) < 0.3
            and 0.6 < c.h / max(upper.h, 1e-6) < 1.7
        ]
        if below:
            lower = min(below, key=lambda c: c.y)
            yield Candidate(
                upper.line, upper.start, upper.end, f"{upper.text} {lower.text}", frozenset(("piece", "tail")), lower.line
            )


def _digit_share(text: str) -> float:
    return sum(map(str.isdigit, text)) / max(len(text), 1)


def _edges(
    lines: Sequence[TextSegment], found: Sequence[Candidate], of_line: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the left and right edges of the candidates, by the share of their characters in the line, in pixels."""
    x0, x1 = np.array([c.x0 for c in lines])[of_line], np.array([c.x1 for c in lines])[of_line]
    length = np.array([max(len(lines[n].text), c.end, 1) for n, c in zip(of_line, found, strict=True)])
    start, end = np.array([c.start for c in found]), np.array([c.end for c in found])
    return x0 + (x1 - x0) * start / length, x0 + (x1 - x0) * end / length


def _page_offsets(lines: Sequence[TextSegment]) -> NDArray[np.float64]:
    """Return the height of each line on one long sheet, in pixels."""
    y, offset = np.array([c.y for c in lines]), 0.0
    pages = np.array([c.page for c in lines])
    for page in sorted(set(pages.tolist()))[1:]:
        before = pages < page
        offset = float(y[before].max()) + 3 * lines[0].h - float(y[pages == page].min())
        y[pages == page] += offset
    return y


def _in_row(
    rows: Sequence[Sequence[TextSegment]], number: dict[int, int], of_line: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    left, first, right = (np.full(len(number), -1) for _ in range(3))
    for row in rows:
        for n, cell in enumerate(row):
            at = number[cell.line]
            if n:
                left[at], first[at] = number[row[n - 1].line], number[row[0].line]
            if n + 1 < len(row):
                right[at] = number[row[n + 1].line]
    return {"left": left[of_line], "leftmost": first[of_line], "right": right[of_line]}


def _above_and_below(
    lines: Sequence[TextSegment],
    y: NDArray[np.float64],
    of_line: NDArray[np.int64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
) -> dict[str, NDArray[np.int64]]:
    """Return the nearest line above, the nearest above without many digits (a column header), and the nearest below."""
    x0, x1 = np.array([c.x0 for c in lines]), np.array([c.x1 for c in lines])
    half = 0.5 * np.array([c.h for c in lines])[of_line][:, None]
    words = np.array([_digit_share(c.text) < 0.15 for c in lines])
    overlaps = (x0[None] < right[:, None]) & (x1[None] > left[:, None])
    own = y[of_line][:, None]
    above, below = overlaps & (y[None] < own - half), overlaps & (y[None] > own + half)

    def nearest(mask: NDArray[np.bool_], sign: int) -> NDArray[np.int64]:
        found = np.where(mask, sign * y[None], -np.inf).argmax(1)
        return np.where(mask.any(1), found, -1)

    return {"above": nearest(above, 1), "header": nearest(above & words[None], 1), "below": nearest(below, -1)}


def text_before(text: str, start: int) -> str:
    """Return what may be a label before a part of a line: what follows the last number before it."""
    before = text[max(0, start - 40) : start].strip(" :：")
    found = _LABEL_BEFORE.search(before)
    return (found[0].strip() if found else before)[-28:]


def text_after(text: str, end: int) -> str:
    """Return the text after a part of a line."""
    return text[end : end + 30].strip(" :：")[:20]
