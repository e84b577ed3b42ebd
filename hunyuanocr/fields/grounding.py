"""Grounding: find the occurrences of a value on the pages, as parts of lines with a confidence.

A number matches only the same number: one different digit is another amount. Words may differ by a misread letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import segment_box, union_box
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.finders import find_values
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.fields.values.style import PLAIN, PageStyle
from hunyuanocr.fields.values.times import find_times
from hunyuanocr.types import FieldType, Line, Quad

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MARK = re.compile(r"(?<=\d)[.,]\s?(?=\d)")
_SIGN = re.compile(r"([-−–+<>≤≥±])\s?(?=\.?\d)")
_SIGN_BEFORE = re.compile(r"(?:^|(?<=[\s:：=(]))([-−–+<>≤≥±])$")
_SIGNS = str.maketrans("−–", "--", "+")  # +1.50 is 1.50
_MIN_SIMILARITY = 88.0  # per cent of equal letters: one misread letter in eight
_MAX_LINES = 6  # of one value


@dataclass(frozen=True)
class Occurrence:
    """Parts of lines: (number of the line, first character, end)."""

    parts: tuple[tuple[int, int, int], ...]

    def box(self, lines: Sequence[Line]) -> Quad:
        """Return the part of the line's box that the value fills, or the rectangle around the parts of several lines."""
        return union_box([segment_box(lines[n], start, end) for n, start, end in self.parts])

    def page(self, lines: Sequence[Line]) -> int:
        """Return the page of its first line."""
        return lines[self.parts[0][0]].page

    def text_confidence(self, lines: Sequence[Line]) -> float | None:
        """Return the confidence of its weakest letter, or that of its weakest line if the backend gives none of letters."""
        own = [p for n, start, end in self.parts for p in lines[n].letters[start:end]]
        return min(own) if own else self.confidence(lines)

    def confidence(self, lines: Sequence[Line]) -> float | None:
        """Return the lowest confidence of its lines; None if the backend gives none."""
        scores = [lines[n].confidence for n, _, _ in self.parts]
        known = [s for s in scores if s is not None]
        return min(known) if len(known) == len(scores) else None


def find_occurrences(value: str, type: FieldType, lines: Sequence[Line], style: PageStyle = PLAIN) -> Iterator[Occurrence]:
    """Yield every occurrence of the value in reading order; exact ones before those with a misread letter.

    `style` are the habits of the page, by which its numbers and dates are read.
    """
    if type in (FieldType.MONEY, FieldType.DATE, FieldType.TIME, FieldType.DATETIME, FieldType.PHONE):
        yield from _typed(value, type, lines, style)
    # Amounts and dates are compared by value; their letters are compared only if they cannot be parsed.
    exact = type in (FieldType.DATE, FieldType.DATETIME, FieldType.MONEY)
    if not exact or normalize(value, type, style) is None:
        yield from _worded(value, lines)


def _typed(value: str, type: FieldType, lines: Sequence[Line], style: PageStyle) -> Iterator[Occurrence]:
    meanings = _meanings(value, type, style)
    for number, line in enumerate(lines):
        for span in find_values(line.text, type, style) if meanings else ():
            if meanings & _meanings(span.text, type, style):
                yield Occurrence(((number, span.start, span.end),))


def _meanings(text: str, type: FieldType, style: PageStyle) -> set[object]:
    """Return the possible values of the amount, date, time or number in the text; none if there are several."""
    if type is FieldType.MONEY:
        amounts = {m.amount for _, m in find_money(text, style)}
        return set(amounts) if len(amounts) == 1 else set()
    if type in (FieldType.DATE, FieldType.DATETIME):
        dates = find_dates(text, style)
        if not dates:  # a month: 05/2026
            month = normalize(text, FieldType.DATE)
            return {month} if month else set()
        return set(dates[0][1]) if len(dates) == 1 else set()
    if type is FieldType.TIME:
        return {t for _, t in find_times(text, style, point=True)}
    number = normalize(text, type, style)
    return {number} if number else set()


def _letters(text: str) -> tuple[str, list[int]]:
    """Return the normalised letters and digits, and the index of each in the text."""
    key, at = [], []
    for i, c in enumerate(text):
        for letter in normalise_key(c):
            key.append(letter)
            at.append(i)
    return "".join(key), at


def _worded(value: str, lines: Sequence[Line]) -> Iterator[Occurrence]:
    key = normalise_key(value)
    if not key:
        return
    keys = [_letters(line.text) for line in lines]
    for number, (text, at) in enumerate(keys):
        start = text.find(key)
        while start >= 0:
            whole = _is_whole_number(text, at, lines[number].text, start, start + len(key))
            if whole and _has_same_marks(value, lines[number].text, at[start], at[start + len(key) - 1] + 1):
                yield Occurrence(((number, at[start], at[start + len(key) - 1] + 1),))
            start = text.find(key, start + 1)
    yield from _multi_line(key, keys)
    yield from _misread(key, keys, lines)


def _is_whole_number(text: str, at: Sequence[int], line: str, start: int, end: int) -> bool:
    """Return whether a match is not part of a longer number: 9.00 does not occur in 19.00, nor 100 in 1000."""

    def digit(position: int) -> bool:
        return 0 <= position < len(line) and line[position].isdigit()

    first, last = at[start], at[end - 1]
    if text[start].isdigit() and (digit(first - 1) or (line[first - 1 : first] in (".", ",") and digit(first - 2))):
        return False
    return not (text[end - 1].isdigit() and (digit(last + 1) or (line[last + 1 : last + 2] in (".", ",") and digit(last + 2))))


def _numerals(text: str) -> str:
    """Return the digits of a text with the decimal marks between them; without thousands separators."""
    plain = _MARK.sub("·", _THOUSANDS.sub("", to_halfwidth(text)))
    return "".join(c for c in plain if c.isdigit() or c == "·")


def _has_same_marks(value: str, line: str, start: int, end: int) -> bool:
    """Return whether the value and characters `start` … `end` of the line have the same decimal marks and the same sign."""
    if not line[start].isdigit():
        return True
    printed, own = _SIGN_BEFORE.search(line, max(0, start - 2), start), _SIGN.match(value.strip())
    signs = [(m[1].translate(_SIGNS) if m else "") for m in (printed, own)]
    return signs[0] == signs[1] and _numerals(value) == _numerals(line[start:end])


def _multi_line(key: str, keys: Sequence[tuple[str, list[int]]]) -> Iterator[Occurrence]:
    """Yield occurrences of a value that continues on the following lines."""
    for first, (text, at) in enumerate(keys):
        overlap = next((n for n in range(min(len(text), len(key) - 1), 1, -1) if text.endswith(key[:n])), 0)
        if not overlap:
            continue
        parts, rest = [(first, at[len(text) - overlap], at[-1] + 1)], key[overlap:]
        for number in range(first + 1, min(first + _MAX_LINES, len(keys))):
            following, indices = keys[number]
            if following and rest.startswith(following):
                parts.append((number, indices[0], indices[-1] + 1))
                rest = rest[len(following) :]
            elif rest and following.startswith(rest):
                parts.append((number, indices[0], indices[len(rest) - 1] + 1))
                rest = ""
            else:
                break
            if not rest:
                yield Occurrence(tuple(parts))
                break


def _misread(key: str, keys: Sequence[tuple[str, list[int]]], lines: Sequence[Line]) -> Iterator[Occurrence]:
    """Yield parts of lines with nearly the same letters as the value, and the same digits in order."""
    digits = [c for c in key if c.isdigit()]
    if len(key) < 4 or len(digits) > len(key) / 2:
        return
    for number, (text, at) in enumerate(keys):
        if len(text) < 0.8 * len(key):
            continue
        match = fuzz.partial_ratio_alignment(key, text, score_cutoff=_MIN_SIMILARITY)
        if match is None or match.dest_end - match.dest_start < 0.8 * len(key):
            continue
        part = text[match.dest_start : match.dest_end]
        if [c for c in part if c.isdigit()] == digits and fuzz.ratio(key, part) >= _MIN_SIMILARITY:
            yield Occurrence(((number, at[match.dest_start], at[match.dest_end - 1] + 1),))
