"""Find the values of a type in a text, as spans: amounts, dates, phone numbers …"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from hunyuanocr.fields.values.dates import find_dates, find_months
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.span import Span, to_halfwidth
from hunyuanocr.fields.values.style import PLAIN, PageStyle
from hunyuanocr.fields.values.times import find_times
from hunyuanocr.types import FieldType

PHONE = re.compile(
    r"(?<![\d.,])(?:\(?\+?\d{1,4}\)?[\s-]?)?\(?\d{2,4}\)?[\s-]?\d{3,4}[\s-]?\d{3,4}(?:\s?(?:转|ext\.?)\s?\d{1,6})?(?![\d.,]\d)"
)
_IDENTIFIER = re.compile(
    r"(?:[A-Za-z]{1,5}[\s-]|(?<![A-Za-z0-9]))[A-Za-z0-9]*[\d*][A-Za-z0-9*]*(?:(?:[-/.]|\s(?=[\dA-Z*]{2,}(?![^\W*])))[A-Za-z0-9*]*[\d*][A-Za-z0-9*]*)*"
)
_QUANTITY = re.compile(
    r"(?<![\d.,])(?:[x×*]\s?|(?<!\w)[-−+<>≤≥±]\s?)?\d[\d,]*(?:\.\d+)?\s?(?:[^\W\d_]{1,4}(?:/[^\W\d_]{1,4})?(?![^\W_]))?",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(?:(?<!\w)[-−+<>≤≥±]\s?)?(?<!\d)\d+(?:[.,]\d+)?\s?[%％]")
_MARKS = " \t:：;；,，.。=|-—_#*"
_SIGNED = re.compile(r"(?:^|(?<=[\s:：=]))[-−–—+<>≤≥±~≈＜＞＋－]\s?\.?\d")  # a sign that is a part of the number after it

# Values that are not understood, but certainly are of the type after a label of it: 31/02/2025, 05/26, 1Z.5O.
UNREAD_FORMS: Mapping[FieldType, re.Pattern[str]] = {
    FieldType.DATE: re.compile(
        r"(?=[^/.年-]{0,4}\d)[\dOoIlSBZ]{1,4}\s?[-/.年]\s?[\dOoIlSBZ]{1,4}(?:\s?[-/.月]\s?[\dOoIlSBZ]{1,4}日?)?"
    ),
    FieldType.TIME: re.compile(r"(?=[^:.]?\d)[\dOoIlSBZ]{1,2}[:.][\dOoIlSBZ]{2}(?:[:.][\dOoIlSBZ]{2})?"),
    FieldType.MONEY: re.compile(r"[¥￥$€£]?\s?(?=\D{0,3}\d)[\dOoIlSBZ,]{1,9}[.,][\dOoIlSBZ]{2}"),
}


def _spans(pattern: re.Pattern[str]) -> Callable[[str], list[Span]]:
    def find(text: str) -> list[Span]:
        return [Span(*m.span(), text[m.start() : m.end()]) for m in pattern.finditer(to_halfwidth(text)) if m[0].strip()]

    return find


def _identifiers(text: str, style: PageStyle) -> list[Span]:
    """Return codes that contain a digit and are neither a date nor a time."""
    moments = [s for s, _ in find_dates(text, style)] + [s for s, _ in find_times(text, style) if ":" in to_halfwidth(s.text)]
    first = min((s.start for s in moments), default=len(text))
    return [s for s in _spans(_IDENTIFIER)(text[:first]) if s.text.strip()]


def trimmed_text(text: str) -> list[Span]:
    """Return the whole text without leading and trailing signs and brackets."""
    start = len(text) - len(text.lstrip(_MARKS))
    inner = text[start:].rstrip(" \t:：;；,，=|")
    for opening, closing in ("()", "（）", "[]", "【】"):
        if inner.startswith(opening) and inner.endswith(closing):
            start, inner = start + 1, inner[1:-1]
        elif inner.startswith(closing):  # the rest of a bracketed label
            start, inner = start + 1, inner[1:]
    start += len(inner) - len(inner.lstrip(_MARKS))
    inner = inner.strip(_MARKS.replace(".", "").replace("*", "").replace("-", ""))
    if signed := next((m for m in _SIGNED.finditer(text, 0, start + 1) if m.end() == start + 1), None):
        start, inner = signed.start(), text[signed.start() : start] + inner.lstrip(_MARKS)
    return [Span(start, start + len(inner), inner)] if any(c.isalnum() for c in inner) else []


def _dates(text: str, style: PageStyle) -> list[Span]:
    """Return the dates; the months with a year if there is no date (an expiry: 05/2026)."""
    return [s for s, _ in find_dates(text, style)] or [s for s, _ in find_months(text)]


def _datetimes(text: str, style: PageStyle) -> list[Span]:
    """Return dates with the time directly after them; times if there is no date."""
    dates, times = [s for s, _ in find_dates(text, style)], [s for s, _ in find_times(text, style)]
    found = []
    for day in dates:
        clock = next((t for t in times if day.end <= t.start and not text[day.end : t.start].strip(" ,，T")), None)
        end = clock.end if clock else day.end
        found.append(Span(day.start, end, text[day.start : end]))
    return found or times


_FINDERS: Mapping[FieldType, Callable[[str, PageStyle], list[Span]]] = {
    FieldType.MONEY: lambda text, style: [s for s, _ in find_money(text, style)],
    FieldType.DATE: _dates,
    FieldType.TIME: lambda text, style: [s for s, _ in find_times(text, style, point=True)],
    FieldType.DATETIME: _datetimes,
    FieldType.PHONE: lambda text, style: _spans(PHONE)(text),
    FieldType.QUANTITY: lambda text, style: _spans(_QUANTITY)(text),
    FieldType.PERCENT: lambda text, style: _spans(_PERCENT)(text),
    FieldType.IDENTIFIER: _identifiers,
}


def find_values(text: str, type: FieldType, style: PageStyle = PLAIN) -> list[Span]:
    """Return the values of the type in the text, left to right; for free text, the whole text.

    `style` are the habits of the page, which decide what a number or a date of several meanings is.
    """
    finder = _FINDERS.get(type)
    return finder(text, style) if finder else trimmed_text(text)
