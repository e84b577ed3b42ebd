"""Times of day in a text: 14:22, 2:22 PM, 14h22, 14時22分, 下午2:22; 14.22 where it is certain to be a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import time

from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.span import Span, to_halfwidth
from hunyuanocr.fields.values.style import PLAIN, PageStyle

_HALVES = "上午|下午|晚上|早上|中午|午前|午後|오전|오후"
_TIME = re.compile(
    rf"(?P<before>{_HALVES}|AM|PM)?\s?(?<!\d)(?<!\d[:：])(?P<h>[01]?\d|2[0-3])\s?[:：]\s?(?P<m>[0-5]\d)(?:\s?[:：]\s?(?P<s>[0-5]\d))?"
    r"(?!\d)\s?(?P<after>[ap]\.?\s?m\b\.?)?",
    re.IGNORECASE,
)
_CHARACTERS = re.compile(
    rf"(?P<before>{_HALVES})?\s?(?<!\d)(?P<h>[01]?\d|2[0-3])\s?[时時点點시]\s?(?P<m>[0-5]?\d)\s?[分분](?:\s?(?P<s>[0-5]?\d)\s?[秒초])?(?P<after>)"
)
_HOURS = re.compile(
    r"(?P<before>)(?<![\d.,:/-])(?P<h>[01]?\d|2[0-3])\s?[hH]\s?(?P<m>[0-5]\d)(?:(?P<s>[0-5]\d)s)?(?![\d.,])(?P<after>)"
)
_POINT = r"(?P<h>[01]?\d|2[0-3])\.(?P<m>[0-5]\d)(?:\.(?P<s>[0-5]\d))?(?![\d.,]\d|\d|\s?%)"
# A point between hours and minutes: after a date, after a word for time, or before one.
_AFTER_WORD = re.compile(
    rf"(?P<before>)(?:(?:time|uhrzeit|zeit|hora|heure|ora|jam|masa|pukul|tijd|saat|kl|klo|godz)\b[\s.:]{{0,3}}){_POINT}"
    r"\s?(?P<after>[ap]\.?m\b\.?)?",
    re.IGNORECASE,
)
_BEFORE_WORD = re.compile(
    rf"(?P<before>)(?<![\d.,]){_POINT}\s?(?:(?P<after>[ap]\.?m\b\.?)|Uhr\b|hrs?\b|WIB\b|น\.)", re.IGNORECASE
)
_AFTER_DATE = re.compile(rf"(?P<before>)[\s,]{{1,3}}{_POINT}(?P<after>)")
_ALONE = re.compile(rf"(?P<before>)(?<![\d.,]){_POINT}(?P<after>)")
_DIGIT = re.compile(r"\d")
_AFTERNOON, _MORNING = ("p", "下", "晚", "午後", "오후"), ("a", "上", "早", "午前", "오전")


def _clock(match: re.Match[str]) -> time:
    hour = int(match["h"])
    half = (match["before"] or match["after"] or "").lower()
    if half.startswith(_AFTERNOON) and hour < 12:
        hour += 12
    elif half.startswith(_MORNING) and hour == 12:
        hour = 0
    return time(hour, int(match["m"]), int(match["s"] or 0))


def find_times(text: str, style: PageStyle = PLAIN, *, point: bool = False) -> list[tuple[Span, time]]:
    """Return the times of day in the text, left to right. `point`: 14.22 is a time, because its label says so."""
    plain = to_halfwidth(text)
    if not _DIGIT.search(plain):
        return []
    dates = find_dates(text, style)
    masked = plain
    for span, _ in dates:  # a date directly before a time would hide its hour; spaces keep the indices
        masked = masked[: span.start] + " " * (span.end - span.start) + masked[span.end :]

    def matches() -> Iterator[re.Match[str]]:
        for pattern in (_TIME, _CHARACTERS, _HOURS):
            yield from pattern.finditer(masked)
        if "." in masked:
            for pattern in (_AFTER_WORD, _BEFORE_WORD, *((_ALONE,) if point else ())):
                yield from pattern.finditer(masked)
            yield from (m for span, _ in dates if (m := _AFTER_DATE.match(masked, span.end)))

    found: list[tuple[Span, time]] = []
    for match in matches():
        start = match.start("before") if match["before"] else match.start("h")
        end = max(match.end(name) for name in ("m", "s", "after"))
        end = _end_of_characters(plain, end)
        if not any(s.start < end and start < s.end for s, _ in found):
            found.append((Span(start, end, text[start:end]), _clock(match)))
    return sorted(found, key=lambda f: f[0].start)


def _end_of_characters(plain: str, end: int) -> int:
    """Return the end with the character for minutes or seconds after the digits."""
    return end + 1 if end < len(plain) and plain[end] in "分분秒초" else end
