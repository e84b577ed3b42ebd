"""Dates in a text, with all their possible values, the likeliest first.

03/04/2026 is the third of April in Kuala Lumpur and the fourth of March in New York; 22/04/29 is a day of 2029 in most places
and of 2022 in East Asia. All readings are kept; the page (`PageStyle`) decides which is first. A year of two digits is in
1970–2069. Years of the Japanese eras, of the Republic of China and of the Buddhist calendar are converted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date

from hunyuanocr.fields.values import months
from hunyuanocr.fields.values.numerals import chinese_number
from hunyuanocr.fields.values.span import Span, fold
from hunyuanocr.fields.values.style import PLAIN, PageStyle

Readings = tuple[date, ...]
Month = tuple[int, int]  # year, month

_ZH = "〇零一二三四五六七八九十"
_END = r"(?!\d(?!\d?\s?[:：]\d))"  # no further digit, except of a time without a space before it: 25/12/20188:13
_YEAR4 = r"(?:19|20|25)\d\d"  # 25xx: Buddhist
_MARK = r"[-/.–—·\\|]"
_QUOTE = r"['’‘`´]"
_OF = r"[\s,./'’‘`´-]{0,3}(?:(?:de|del|of|d)[\s'’.]{1,2})?"  # 5 de marzo de 2025
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925, "大正": 1911, "民國": 1911, "民国": 1911, "㋿": 2018, "㍻": 1988, "㍼": 1925}
_ERA_LETTERS = {"r": (2018, 60), "h": (1988, 31), "s": (1925, 64)}  # and the last year of the era

_DAY_MONTH_YEAR = re.compile(
    rf"(?<!\d)(?<!\d[.,:])(?P<a>\d{{1,2}})\s?(?P<s>{_MARK}|,(?=\d\d,))\s?(?P<b>\d{{1,2}})\s?"
    rf"(?:(?:{_MARK}|,)\s?{_QUOTE}?(?P<y>{_YEAR4}(?!\s?[:：]\d))|(?P=s)\s?{_QUOTE}?(?P<z>\d\d)){_END}(?![.,]\d)"
)
_YEAR_MONTH_DAY = re.compile(
    rf"(?<!\d)(?P<y>{_YEAR4})\s?(?:{_MARK}|年)\s?(?P<m>\d{{1,2}})\s?(?:{_MARK}|月)\s?(?P<d>3[01]|[12]\d|0?[1-9]){_END}"
)
_SPACED = re.compile(
    rf"(?<![\d.,:/-])(?<!\d )(?:(?P<y>{_YEAR4})\s(?P<m>0[1-9]|1[0-2])\s(?P<d>0[1-9]|[12]\d|3[01])"
    rf"|(?P<a>0[1-9]|[12]\d|3[01])\s(?P<b>0[1-9]|[12]\d)\s(?P<z>{_YEAR4}))(?![.,:/-]?\d| \d+(?![\d:.]))"
)
_REPUBLIC = re.compile(
    r"(?<![\d./-])(?P<y>1[0-4]\d)\s?[-/.]\s?(?P<m>0?[1-9]|1[0-2])\s?[-/.]\s?(?P<d>3[01]|[12]\d|0?[1-9])(?![\d./-])"
)
_ERA_LETTER = re.compile(
    r"(?<![a-z\d])(?P<e>[rhs])\.?\s?(?P<y>\d{1,2})\s?[-/.年]\s?(?P<m>\d{1,2})\s?[-/.月]\s?(?P<d>\d{1,2})日?(?![\d./-])"
)
_CHARACTERS = re.compile(
    rf"(?:(?P<e>{'|'.join(_ERAS)})\s?)?(?<!\d)(?P<y>\d{{1,4}}|元)\s?[年년]\s?(?P<m>\d{{1,2}})\s?[月월]\s?(?P<d>\d{{1,2}})\s?[日号號일]?"
)
_CHINESE_WORDS = re.compile(rf"(?P<y>[{_ZH}]{{4}})年(?P<m>[{_ZH}]{{1,2}})月(?P<d>[{_ZH}]{{1,3}})日")
_VIETNAMESE = re.compile(rf"(?:ngay\s?)?(?<!\d)(?P<d>\d{{1,2}})\s?thang\s?(?P<m>\d{{1,2}})\s?(?:nam|,)?\s?(?P<y>{_YEAR4}){_END}")
_DAY_NAME = re.compile(
    rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th|er|e|º|°)?{_OF}"
    rf"(?:(?P<m>{months.ALL}){_OF}(?P<y>{_YEAR4})|(?P<n>{months.STRONG}){_OF}(?P<z>\d\d)){_END}(?![.,]\d)"
)
_THAI_SHORT_YEAR = re.compile(rf"(?<!\d)(?P<d>\d{{1,2}})\s?(?P<m>{months.THAI})\s?(?P<y>\d\d)(?!\d)")
_NAME_DAY = re.compile(
    rf"(?<![a-z])(?P<m>{months.STRONG})[\s./-]{{0,2}}(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,./'’‘`´-]{{1,3}}(?P<y>{_YEAR4}|\d\d){_END}(?![.,]\d)"
)
_DIGITS = re.compile(rf"(?<![\d.,-])(?P<y>20\d\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01]){_END}(?![.,-])")
_MONTH_YEAR = re.compile(
    rf"(?<![\d/.,-])(?:(?P<m>0?[1-9]|1[0-2])\s?[-/.]\s?(?P<y>{_YEAR4})|(?P<y2>{_YEAR4})\s?[-/.年\s]\s?(?P<m2>0[1-9]|1[0-2]|[1-9](?=\s?月))\s?月?"
    rf"|(?<![a-z])(?P<n>{months.ALL}){_OF}(?P<y3>{_YEAR4}))(?!\s?[-/.,:]?\d)"
)
_SHORT_MONTH_YEAR = re.compile(r"(?P<m>0[1-9]|1[0-2])\s?/\s?(?P<y>[2-6]\d)")  # an expiry: 05/26
_DIGIT = re.compile(r"\d")
_HAS_WORDS = re.compile(r"[a-z\u0e00-\u0e7f]")


def _year(text: str) -> int:
    """Return the year of the common calendar, of two digits or Buddhist."""
    number = int(text)
    if number > 2400:
        return number - 543
    return number if number > 99 else number + (2000 if number < 70 else 1900)


def _valid(*candidates: tuple[int, int, int]) -> Readings:
    """Return the valid dates among (year, month, day), each once, in order."""
    dates: dict[date, None] = {}
    for year, month, day in candidates:
        try:
            dates[date(year, month, day)] = None
        except ValueError:  # not a valid date
            continue
    return tuple(dates)


def _numeric(match: re.Match[str], style: PageStyle) -> Readings:
    """Return the readings of three numbers: day first or month first as the page does; year first on East Asian pages."""
    short = match["z"]
    a, b, y = int(match["a"]), int(match["b"]), _year(short or match["y"])
    orders = [(y, a, b), (y, b, a)] if style.month_first else [(y, b, a), (y, a, b)]
    if short and style.thai:
        orders = [(int(short) + 1957, b, a), *orders]  # 68 is 2568
    if short:
        year_first = (_year(match["a"]), b, int(short))
        orders = [year_first, *orders] if style.year_first else [*orders, year_first]
    return _valid(*orders)


def _spaced(match: re.Match[str], style: PageStyle) -> Readings:
    if match["y"]:
        return _named(match, style)
    a, b, y = int(match["a"]), int(match["b"]), _year(match["z"])
    return _valid((y, b, a), (y, a, b))


def _republic(match: re.Match[str], style: PageStyle) -> Readings:
    if style.kana or (style.known and not style.east_asian):
        return ()
    return _valid((int(match["y"]) + 1911, int(match["m"]), int(match["d"])))


def _era_letter(match: re.Match[str], style: PageStyle) -> Readings:
    start, last = _ERA_LETTERS[match["e"]]
    if (style.known and not style.kana) or not 1 <= int(match["y"]) <= last:
        return ()
    return _valid((start + int(match["y"]), int(match["m"]), int(match["d"])))


def _characters(match: re.Match[str], style: PageStyle) -> Readings:
    """Return the readings of 2025年3月5日, 令和7年3月5日, 民國114年3月5日, 114年3月5日 and 25年3月5日."""
    year, rest = match["y"], (int(match["m"]), int(match["d"]))
    if match["e"]:
        return _valid((_ERAS[match["e"]] + (1 if year == "元" else int(year)), *rest))
    if year == "元":
        return ()
    if len(year) == 3:
        return _valid((int(year) + 1911, *rest))
    readings = [(_year(year), *rest)]
    if style.kana and len(year) < 3:
        era = (int(year) + 2018, *rest)
        readings = [era, *readings] if int(year) < 20 else [*readings, era]
    return _valid(*readings)


def _words(match: re.Match[str], style: PageStyle) -> Readings:
    year = int("".join(str(chinese_number(c)) for c in match["y"]))
    return _valid((year, chinese_number(match["m"]), chinese_number(match["d"])))


def _named(match: re.Match[str], style: PageStyle) -> Readings:
    """Return the reading of a match with year, month (a number or a name) and day."""
    groups = match.groupdict()
    month, year = groups["m"] or groups.get("n") or "", groups["y"] or groups.get("z") or ""
    return _valid((_year(year), months.MONTHS.get(month) or int(month), int(groups["d"])))


def _thai(match: re.Match[str], style: PageStyle) -> Readings:
    return _valid((int(match["y"]) + 1957, months.MONTHS[match["m"]], int(match["d"])))


# In the order of their certainty. The second word says which texts can contain the form.
_FORMS: tuple[tuple[re.Pattern[str], str, Callable[[re.Match[str], PageStyle], Readings]], ...] = (
    (_CHARACTERS, "characters", _characters),
    (_CHINESE_WORDS, "characters", _words),
    (_YEAR_MONTH_DAY, "digits", _named),
    (_DAY_NAME, "words", _named),
    (_NAME_DAY, "words", _named),
    (_VIETNAMESE, "words", _named),
    (_THAI_SHORT_YEAR, "thai", _thai),
    (_ERA_LETTER, "words", _era_letter),
    (_REPUBLIC, "digits", _republic),
    (_DAY_MONTH_YEAR, "digits", _numeric),
    (_SPACED, "digits", _spaced),
    (_DIGITS, "digits", _named),
)


def _kinds(plain: str) -> Mapping[str, bool]:
    """Return which forms the text can contain; most texts contain none, which saves most of the time."""
    digits = len(_DIGIT.findall(plain))
    characters = "年" in plain or "년" in plain
    return {
        "characters": characters,
        "digits": digits >= 4,
        "words": digits >= 3 and bool(_HAS_WORDS.search(plain)),
        "thai": digits >= 3 and "." in plain and not plain.isascii(),
    }


def find_dates(text: str, style: PageStyle = PLAIN) -> list[tuple[Span, Readings]]:
    """Return the dates of the text with their possible readings, the likeliest first; left to right, no overlaps."""
    plain = fold(text)
    kinds = _kinds(plain)
    found: list[tuple[Span, Readings]] = []
    for pattern, kind, read in _FORMS if any(kinds.values()) else ():
        for match in pattern.finditer(plain) if kinds[kind] else ():
            readings = read(match, style)
            if readings and not any(s.start < match.end() and match.start() < s.end for s, _ in found):
                found.append((_span(match, text), readings))
    return sorted(found, key=lambda t: t[0].start)


def find_months(text: str) -> list[tuple[Span, Month]]:
    """Return the months with a year and without a day: 05/2026, 2026.05, May 2026."""
    found = []
    for match in _MONTH_YEAR.finditer(fold(text)):
        month, year = match["m"] or match["m2"] or match["n"], match["y"] or match["y2"] or match["y3"]
        found.append((_span(match, text), (_year(year), months.MONTHS.get(month) or int(month))))
    return found


def month_of_expiry(text: str) -> Month | None:
    """Return the month of a text that is nothing but a month and a year of two digits, which may also be a day and a month."""
    match = _SHORT_MONTH_YEAR.fullmatch(fold(text).strip())
    return (_year(match["y"]), int(match["m"])) if match and int(match["y"]) > 12 else None


def _span(match: re.Match[str], text: str) -> Span:
    return Span(*match.span(), text[match.start() : match.end()])
