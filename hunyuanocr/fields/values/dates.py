"""Dates and times in a text, with all their possible values.

03/04/2026 is the third of April in Kuala Lumpur and the fourth of March in New York: all readings of an ambiguous date are kept.
A year of two digits is in 1970–2069. Three numbers of two digits are day or month first; year first only if the others are not
a date. Month names: English, short or long, and Malay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, time

from hunyuanocr.fields.values.money import chinese_number
from hunyuanocr.fields.values.span import Span, to_halfwidth

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januari",
            "feb february februari",
            "mar march mac",
            "apr april",
            "may mei",
            "jun june",
            "jul july julai",
            "aug august ogos",
            "sep sept september",
            "oct october oktober okt",
            "nov november",
            "dec december disember dis",
        ),
        start=1,
    )
    for name in names.split()
}
_NAME = "|".join(sorted(_MONTHS, key=len, reverse=True))
_ZH = "〇零一二三四五六七八九十"
_END = r"(?!\d(?!\d?\s?[:：]\d))"  # no further digit, except of a time without a space before it: 25/12/20188:13
_YEAR4 = r"(?:19|20)\d\d"

_NUMERIC_DMY = re.compile(
    rf"(?<![\d.,])(?<!\d:)(?P<a>\d{{1,2}})\s?(?P<s>[-/.])\s?(?P<b>\d{{1,2}})\s?(?P=s)\s?(?P<y>{_YEAR4}(?!\s?[:：]\d)|\d\d){_END}(?![.,]\d)"
)
_NUMERIC_YMD = re.compile(
    rf"(?<!\d)(?P<y>{_YEAR4})\s?[-/.]\s?(?P<m>\d{{1,2}})\s?[-/.]\s?(?P<d>3[01]|[12]\d|0?[1-9])(?!\d\d\d|\d$|\d\D)"
)
_CHINESE = re.compile(r"(?<!\d)(?P<y>\d{4}|\d\d)\s?年\s?(?P<m>\d{1,2})\s?月\s?(?P<d>\d{1,2})\s?[日号]?")
_CHINESE_WORDS = re.compile(rf"(?P<y>[{_ZH}]{{4}})年(?P<m>[{_ZH}]{{1,2}})月(?P<d>[{_ZH}]{{1,3}})日")
_DAY_NAME = re.compile(
    rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,./-]{{0,3}}(?P<m>{_NAME})[\s,./'-]{{0,3}}(?P<y>{_YEAR4}|\d\d){_END}",
    re.IGNORECASE,
)
_NAME_DAY = re.compile(
    rf"(?<![a-z])(?P<m>{_NAME})[\s./-]{{0,2}}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,./-]{{1,3}}(?P<y>{_YEAR4}|\d\d){_END}",
    re.IGNORECASE,
)
_DIGITS = re.compile(rf"(?<![\d.,-])(?P<y>20\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01]){_END}(?![.,-])")

_TIME = re.compile(
    r"(?P<before>上午|下午|晚上|AM|PM)?\s?(?<!\d)(?<!\d[:：])(?P<h>[01]?\d|2[0-3])\s?[:：]\s?(?P<m>[0-5]\d)(?:\s?[:：]\s?(?P<s>[0-5]\d))?"
    r"(?!\d)\s?(?P<after>[ap]\.?\s?m\b\.?)?",
    re.IGNORECASE,
)
_TIME_ZH = re.compile(r"(?P<before>上午|下午|晚上)?(?P<h>[01]?\d|2[0-3])[时点](?P<m>[0-5]?\d)分(?:(?P<s>[0-5]?\d)秒)?(?P<after>)")
_DIGIT = re.compile(r"\d")


def _year(text: str) -> int:
    number = int(text)
    return number if number > 99 else number + (2000 if number < 70 else 1900)


def _valid(*candidates: tuple[int, int, int]) -> tuple[date, ...]:
    """Return the valid dates among (year, month, day), each once, in order."""
    dates: dict[date, None] = {}
    for year, month, day in candidates:
        try:
            dates[date(year, month, day)] = None
        except ValueError:  # not a valid date
            continue
    return tuple(dates)


def _digits(words: str) -> int:
    return int("".join(str(chinese_number(c)) for c in words))


def _readings(match: re.Match[str]) -> tuple[date, ...]:
    if match.re is _NUMERIC_DMY:
        a, b, y = int(match["a"]), int(match["b"]), _year(match["y"])
        return _valid((y, b, a), (y, a, b)) or (_valid((_year(match["a"]), b, int(match["y"]))) if len(match["y"]) == 2 else ())
    if match.re is _CHINESE_WORDS:
        return _valid((_digits(match["y"]), chinese_number(match["m"]), chinese_number(match["d"])))
    month = match["m"]
    return _valid((_year(match["y"]), _MONTHS.get(month.lower()) or int(month), int(match["d"])))


def find_dates(text: str) -> list[tuple[Span, tuple[date, ...]]]:
    """Return the dates of the text with their possible readings (day first, then month first), left to right, no overlaps."""
    plain = to_halfwidth(text)
    if not _DIGIT.search(plain) and "年" not in plain:
        return []
    found: list[tuple[Span, tuple[date, ...]]] = []
    for pattern in (_CHINESE, _CHINESE_WORDS, _NUMERIC_YMD, _DAY_NAME, _NAME_DAY, _NUMERIC_DMY, _DIGITS):
        for match in pattern.finditer(plain):
            readings = _readings(match)
            if readings and not any(s.start < match.end() and match.start() < s.end for s, _ in found):
                found.append((Span(*match.span(), text[match.start() : match.end()]), readings))
    return sorted(found, key=lambda t: t[0].start)


def _clock(match: re.Match[str]) -> time:
    hour = int(match["h"])
    half = (match["before"] or match["after"] or "").lower()
    if half.startswith(("p", "下", "晚")) and hour < 12:
        hour += 12
    elif half.startswith(("a", "上")) and hour == 12:
        hour = 0
    return time(hour, int(match["m"]), int(match["s"] or 0))


def find_times(text: str) -> list[tuple[Span, time]]:
    """Return the times of day in the text, left to right."""
    plain = to_halfwidth(text)
    for span, _ in find_dates(text):  # a date directly before a time would hide its hour; spaces keep the indices
        plain = plain[: span.start] + " " * (span.end - span.start) + plain[span.end :]

    def matches() -> Iterator[re.Match[str]]:
        yield from _TIME.finditer(plain)
        yield from _TIME_ZH.finditer(plain)

    found = []
    for match in matches():
        start = match.start() + len(match[0]) - len(match[0].lstrip())
        end = match.end() - (len(match[0]) - len(match[0].rstrip()))
        found.append((Span(start, end, text[start:end]), _clock(match)))
    return sorted(found, key=lambda f: f[0].start)
