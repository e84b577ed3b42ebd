"""Measures of a reading against the truth: small pure functions over lines, values and boxes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq, Levenshtein

from hunyuanocr.types import Line, Quad

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom in pixels

IOU = 0.5  # of two boxes that are the same line (ICDAR)
IN_BOX = 80.0  # partial similarity, 0…100, from which a value counts as standing in a text: one misread letter in five
ON_PAGE = 60.0  # below it a value stands nowhere on the page: not even a badly misread form of it
MISREAD = 0.5  # share of a value's characters that the text under its box must hold for a misreading, not an invention


def bounding_box(box: Quad) -> Rectangle:
    """The upright rectangle around a quadrilateral."""
    xs, ys = [p[0] for p in box], [p[1] for p in box]
    return min(xs), min(ys), max(xs), max(ys)


def area(r: Rectangle) -> float:
    """Square pixels; 0 for a rectangle turned inside out."""
    return max(r[2] - r[0], 0.0) * max(r[3] - r[1], 0.0)


def intersection(a: Rectangle, b: Rectangle) -> float:
    """Square pixels that two rectangles share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Rectangle, b: Rectangle) -> float:
    """Intersection over union, 0…1."""
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def normalise_text(text: str) -> str:
    """How two transcripts are compared: NFKC, upper case, letters and digits of any script only; × is x."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).upper().replace("×", "X") if c.isalnum())


def match_lines(truth: Sequence[Line], read: Sequence[Line]) -> list[tuple[int, int]]:
    """Pairs (truth, read) of the same page with IoU ≥ 0.5, best first, each line once."""
    boxes, found = [bounding_box(line.box) for line in truth], [bounding_box(line.box) for line in read]
    pairs = sorted(
        (
            (score, i, j)
            for i, a in enumerate(boxes)
            for j, b in enumerate(found)
            if truth[i].page == read[j].page and (score := iou(a, b)) >= IOU
        ),
        reverse=True,
    )
    taken_truth: set[int] = set()
    taken_read: set[int] = set()
    matched = []
    for _, i, j in pairs:
        if i not in taken_truth and j not in taken_read:
            taken_truth.add(i)
            taken_read.add(j)
            matched.append((i, j))
    return matched


@dataclass(frozen=True)
class LineCounts:
    """Sums over lines of one or many documents; add them up, then ask for rates."""

    truth: int = 0
    read: int = 0
    matched: int = 0  # detected: IoU ≥ 0.5
    exact: int = 0  # matched, and the text is equal after `normalise_text`
    characters: int = 0  # of the truth, after `normalise_text`
    edits: int = 0  # Levenshtein; a line that was not found costs all its characters
    mixed: int = 0  # lines that mix Han with Latin letters
    mixed_exact: int = 0

    def __add__(self, other: LineCounts) -> LineCounts:
        return LineCounts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The eight counts in order."""
        return (self.truth, self.read, self.matched, self.exact, self.characters, self.edits, self.mixed, self.mixed_exact)


def count_lines(truth: Sequence[Line], read: Sequence[Line]) -> LineCounts:
    """Detection, transcription and mixed-script counts of one document. Lines without a letter or digit are left out."""
    truth = [line for line in truth if normalise_text(line.text)]
    partner = dict(match_lines(truth, read))
    counts = LineCounts(truth=len(truth), read=sum(bool(normalise_text(line.text)) for line in read), matched=len(partner))
    for i, line in enumerate(truth):
        wanted = normalise_text(line.text)
        got = normalise_text(read[partner[i]].text) if i in partner else ""
        exact, mixed = int(wanted == got), int(is_mixed(line.text))
        edits = Levenshtein.distance(wanted, got)
        counts += LineCounts(exact=exact, characters=len(wanted), edits=edits, mixed=mixed, mixed_exact=mixed * exact)
    return counts


def is_mixed(text: str) -> bool:
    """Whether a line mixes Han characters with Latin letters."""
    return any("一" <= c <= "鿿" for c in text) and any(c.isascii() and c.isalpha() for c in text)


def value_in_box(value: str, box: Quad, page: int, truth: Sequence[Line]) -> bool:
    """Whether the truth has (about) this value where the box says: lines of which the box covers a part of its own size."""
    return _contains(_under(box, page, truth), value, IN_BOX)


def value_on_page(value: str, box: Quad | None, page: int, truth: Sequence[Line]) -> bool:
    """Whether the truth has anything like this value anywhere, or at least half of its characters, in order, under its box.

    The second: of a word of two letters one that is misread is half, and yet the word is no invention.
    """
    if _contains([line.text for line in truth], value, ON_PAGE):
        return True
    wanted, there = normalise_text(value), normalise_text("".join(_under(box, page, truth))) if box else ""
    return bool(wanted) and LCSseq.similarity(wanted, there) >= MISREAD * len(wanted)


def _under(box: Quad, page: int, truth: Sequence[Line]) -> list[str]:
    """Texts of the true lines that a box covers, or that cover it, by at least three tenths of the smaller one."""
    r = bounding_box(box)
    return [
        line.text
        for line in truth
        if line.page == page and intersection(r, t := bounding_box(line.box)) >= 0.3 * max(min(area(r), area(t)), 1.0)
    ]


def _contains(texts: Iterable[str], value: str, similarity: float) -> bool:
    wanted, there = normalise_text(value), normalise_text("".join(texts))
    if not wanted:
        return False
    return len(there) >= len(wanted) * similarity / 100 and fuzz.partial_ratio(wanted, there) >= similarity


def f1(precision: float, recall: float) -> float:
    """Harmonic mean; 0 when both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
