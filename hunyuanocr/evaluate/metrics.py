"""Metrics of a result against the labels: pure functions over lines, values and boxes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import LCSseq, Levenshtein

from hunyuanocr.types import Line, Quad

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom in pixels

IOU = 0.5  # minimum for two boxes of the same line (ICDAR)
IN_BOX = 80.0  # minimum partial similarity, 0…100, for a value in a text: one misread character in five
ON_PAGE = 60.0  # below this similarity a value is nowhere on the page, not even misread
MISREAD = 0.5  # minimum share of a value's characters in the text under its box for a misreading rather than an invention


def bounding_box(box: Quad) -> Rectangle:
    """Return the axis-aligned rectangle around a quadrilateral."""
    xs, ys = [p[0] for p in box], [p[1] for p in box]
    return min(xs), min(ys), max(xs), max(ys)


def area(r: Rectangle) -> float:
    """Return the area in square pixels; 0 for an empty rectangle."""
    return max(r[2] - r[0], 0.0) * max(r[3] - r[1], 0.0)


def intersection(a: Rectangle, b: Rectangle) -> float:
    """Return the area that two rectangles share, in square pixels."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Rectangle, b: Rectangle) -> float:
    """Return the intersection over union, 0…1."""
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def normalise_text(text: str) -> str:
    """Return the form in which transcripts are compared: NFKC, upper case, letters and digits only; × becomes x."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).upper().replace("×", "X") if c.isalnum())


def literal_text(text: str) -> str:
    """Return the form in which transcripts are compared literally: NFC, one space between words."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def match_lines(truth: Sequence[Line], read: Sequence[Line]) -> list[tuple[int, int]]:
    """Return pairs (truth, read) of the same page with IoU ≥ 0.5, best first, each line once."""
    boxes, read_boxes = [bounding_box(line.box) for line in truth], [bounding_box(line.box) for line in read]
    pairs = sorted(
        (
            (score, i, j)
            for i, a in enumerate(boxes)
            for j, b in enumerate(read_boxes)
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
    """Sums over lines of one or many documents; add them up to compute rates."""

    truth: int = 0
    read: int = 0
    matched: int = 0  # detected: IoU ≥ 0.5
    exact: int = 0  # matched with equal text after `normalise_text`
    characters: int = 0  # of the labels, after `normalise_text`
    edits: int = 0  # Levenshtein distance; a missed line counts with all its characters
    mixed: int = 0  # lines that mix Han with Latin letters
    mixed_exact: int = 0
    literal: int = 0  # matched with equal text: spaces, signs, punctuation and case included
    literal_characters: int = 0
    literal_edits: int = 0

    def __add__(self, other: LineCounts) -> LineCounts:
        return LineCounts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """Return the counts in order."""
        return astuple(self)


def count_lines(truth: Sequence[Line], read: Sequence[Line]) -> LineCounts:
    """Return detection, transcription and mixed-script counts of one document. Lines without letters or digits are ignored."""
    truth = [line for line in truth if normalise_text(line.text)]
    partner = dict(match_lines(truth, read))
    counts = LineCounts(truth=len(truth), read=sum(bool(normalise_text(line.text)) for line in read), matched=len(partner))
    for i, line in enumerate(truth):
        expected = normalise_text(line.text)
        got = normalise_text(read[partner[i]].text) if i in partner else ""
        exact, mixed = int(expected == got), int(is_mixed(line.text))
        edits = Levenshtein.distance(expected, got)
        literal, read_literal = literal_text(line.text), literal_text(read[partner[i]].text) if i in partner else ""
        counts += LineCounts(
            exact=exact,
            characters=len(expected),
            edits=edits,
            mixed=mixed,
            mixed_exact=mixed * exact,
            literal=int(literal == read_literal),
            literal_characters=len(literal),
            literal_edits=Levenshtein.distance(literal, read_literal),
        )
    return counts


def is_mixed(text: str) -> bool:
    """Return whether a line mixes Han characters with Latin letters."""
    return any("一" <= c <= "鿿" for c in text) and any(c.isascii() and c.isalpha() for c in text)


def value_in_box(value: str, box: Quad, page: int, truth: Sequence[Line]) -> bool:
    """Return whether the labels have this value (approximately) in the box, judged by lines that the box covers in part."""
    return _contains(_under(box, page, truth), value, IN_BOX)


def value_on_page(value: str, box: Quad | None, page: int, truth: Sequence[Line]) -> bool:
    """Return whether the labels have a similar value anywhere, or at least half of its characters, in order, under its box.

    The second case: one misread letter in a word of two is half of it, but the word is not an invention.
    """
    if _contains([line.text for line in truth], value, ON_PAGE):
        return True
    expected, text = normalise_text(value), normalise_text("".join(_under(box, page, truth))) if box else ""
    return bool(expected) and LCSseq.similarity(expected, text) >= MISREAD * len(expected)


def _under(box: Quad, page: int, truth: Sequence[Line]) -> list[str]:
    """Return the labelled texts that overlap a box by at least three tenths of the smaller area."""
    r = bounding_box(box)
    return [
        line.text
        for line in truth
        if line.page == page and intersection(r, t := bounding_box(line.box)) >= 0.3 * max(min(area(r), area(t)), 1.0)
    ]


def _contains(texts: Iterable[str], value: str, similarity: float) -> bool:
    expected, text = normalise_text(value), normalise_text("".join(texts))
    if not expected:
        return False
    return len(text) >= len(expected) * similarity / 100 and fuzz.partial_ratio(expected, text) >= similarity


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
