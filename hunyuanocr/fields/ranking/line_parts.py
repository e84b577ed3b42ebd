"""The parts of a printed line that may be values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice

_MAX_LETTERS = 160  # of a line
_MAX_PARTS = 40  # of a line; real ones have at most half as many
_SHORT = 40  # letters of a line that may be a label and a value with nothing but a space between them

_CURRENCY = r"(?:[¥￥$€£₹₺₫฿₩]|\b(?:RM|RMB|CNY|USD|EUR|GBP|CHF|PLN|IDR|Rp|SGD|HKD|JPY|KRW|THB|VND|TRY|BRL|R\$|kr|zł)\.?)"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "money",
        re.compile(
            rf"(?:{_CURRENCY}\s?)?[-−]?(?:{_CURRENCY}\s?)?"
            r"(?:\d{1,3}(?:[,.' \u00a0\u202f]\d{2,3}){1,4}(?:[.,]\d{1,2})?|\d{1,9}[.,]\d{2})(?![\d])"
            rf"|{_CURRENCY}\s?[-−]?\d[\d,.]{{0,12}}|[-−]?\d[\d,.]{{0,12}}(?=\s?(?:[元円원]|TL|€|zł))",
            re.IGNORECASE,
        ),
    ),
    (
        "date",
        re.compile(
            r"\d{4}\s?[-/.年 ]\s?\d{1,2}\s?[-/.月 ]\s?\d{1,2}日?|\d{1,2}\s?[-/.' ]\s?\d{1,2}\s?[-/.' ]\s?\d{2,4}(?!\d)"
            r"|(?:令和|平成|昭和|民國|民国)\s?\d{1,3}\s?年\s?\d{1,2}\s?月\s?\d{1,2}\s?日?"
            r"|\d{1,2}(?:st|nd|rd|th|\.)?[ \-/]?(?:de )?(?:[^\W\d]{3,10}|ju1|0ct|n0v|0ec)\.?[ ,\-/']{0,3}(?:de )?\d{2,4}(?!\d)"
            r"|(?:[^\W\d]{3,9}|ju1|0ct|n0v|0ec)\.? ?\d{1,2}(?:st|nd|rd|th)?[ ,'´`]{0,2}\d{2,4}(?!\d)"
            r"|\d{4}년 ?\d{1,2}월 ?\d{1,2}일",
            re.IGNORECASE,
        ),
    ),
    (
        "time",
        re.compile(
            r"\d{1,2}\s?[:：hH時时]\s?\d{2}(?:\s?[:：分]\s?\d{2})?分?秒?(?:\s?[AaPp]\.?[Mm]\.?)?|\d{1,2}\.\d{2}(?= ?(?:Uhr|uur))"
        ),
    ),
    ("phone", re.compile(r"\+?\(?\d[\d \-().]{6,20}\d")),
    ("percent", re.compile(r"\d{1,3}(?:[.,]\d{1,3})?\s?[%％]")),
    ("iban", re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,4})?")),
    ("code", re.compile(r"(?=[A-Za-z\-/.]{0,12}\d)[A-Za-z0-9][A-Za-z0-9\-/.]{0,30}")),
)
KINDS = tuple(kind for kind, _ in _PATTERNS)
SHAPES = ("whole", "piece", "tail")  # of a candidate within its line
_CUTS = re.compile(r"[:：|]|\s{2,8}")
_SCRIPT_CHANGE = re.compile(
    r"(?<=[^\x00-\u2e80：（])(?=[A-Za-z0-9¥￥$])|(?<=[A-Za-z]{4})(?=[\d$€£¥])|(?<=[A-Za-z.)#])\s(?=[\d$€£¥])"
)
# Date and time without a space between them.
_GLUED = re.compile(
    r"(?<!\d)(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]20\d{2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2})(\d{1,2}:\d{2}(?::\d{2})?)(?![\d:])"
)
_LAST_WORD = re.compile(r"\s(?=\S{1,20}\s?$)")
_SPACE = re.compile(r"(?<=[^\d\s])\s")  # not within a number
_DASH = re.compile(r"\s[-–]\s")


def line_parts(text: str) -> dict[tuple[int, int], set[str]]:
    """Return the parts of a line that may be values, (start, end) → kinds (`KINDS`) and shapes (`SHAPES`)."""
    text = text[:_MAX_LETTERS]
    found: dict[tuple[int, int], set[str]] = {}
    for first, last, kind in chain(_shapes(text), _typed(text)):
        start, end = _trimmed(text, first, last)
        if end > start and (len(found) < _MAX_PARTS or (start, end) in found):
            found.setdefault((start, end), set()).add(kind)
    return found


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the part without the spaces and signs around it; a minus sign before a number stays."""
    while start < end and text[start] in " :：.,;#-=*|" and not _is_sign(text, start):
        start += 1
    while end > start and text[end - 1] in " :：;,=*|":
        end -= 1
    return start, end


def _shapes(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the whole line, and its parts between labels, colons, gaps and dashes."""
    length = len(text)
    yield 0, length, "whole"
    cuts = [m.span() for m in _CUTS.finditer(text) if not _inside_number(text, *m.span())]
    for start, end in zip([0, *(b for _, b in cuts)], [*(a for a, _ in cuts), length], strict=True) if cuts else ():
        yield start, end, "piece"
        yield start, length, "tail"
        if last := _LAST_WORD.search(text, start, end):  # the last word belongs to the next label
            yield start, last.start(), "piece"
    for change in islice(_SCRIPT_CHANGE.finditer(text), 3):
        yield change.end(), length, "tail"
    for dash in islice(_DASH.finditer(text), 2):
        yield 0, dash.start(), "piece"
        yield dash.end(), length, "tail"
    for space in islice(_SPACE.finditer(text), 3) if length <= _SHORT else ():  # after a label without a colon
        yield space.end(), length, "tail"


def _typed(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield amounts, dates, numbers …"""
    for glued in _GLUED.finditer(text):
        yield *glued.span(1), "date"
        yield *glued.span(2), "time"
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if not _is_torn(text, match.start(), match.end(), kind):
                yield *match.span(), kind


def _inside_number(text: str, start: int, end: int) -> bool:
    """Return whether a colon stands between digits: 10:30."""
    return text[start] in ":：" and start > 0 and end < len(text) and text[start - 1].isdigit() and text[end].isdigit()


def _is_sign(text: str, at: int) -> bool:
    """Return whether a minus sign belongs to the number after it."""
    return text[at] == "-" and text[at + 1 : at + 3].lstrip()[:1].isdigit() and not text[at - 1 : at].isalnum()


def _is_torn(text: str, start: int, end: int, kind: str) -> bool:
    """Return whether a part is a piece of a longer number or code."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    marks = (".", ":", "/", "-") if kind in ("date", "time") else (".", ",", ":", "/", "-")
    if before[-1:].isdigit() or (before[-1:] in marks and before[-2:-1].isdigit()):
        return True
    if after[:1].isdigit() or (after[:1] in marks and after[1:2].isdigit()):
        return True
    return (
        kind in ("phone", "percent", "code") and before[-1:].isascii() and before[-1:].isalpha() and not before[-2:-1].isalpha()
    )
