"""Normalisation of printed values for programs, and the form in which two values are compared.

Ambiguous values are not guessed: `normalize` returns None, or all readings of a date, the likeliest first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import time
from typing import Any

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.values.dates import find_dates, find_months, month_of_expiry
from hunyuanocr.fields.values.money import CONFUSED, decimal, parse_money
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.fields.values.style import PLAIN, PageStyle
from hunyuanocr.fields.values.times import find_times
from hunyuanocr.types import FieldType

_PHONE = re.compile(r"(?<![\d])\(?\+?\(?\d[\d\s()./-]{4,20}\d(?!\d)")
_EXTENSION = re.compile(r"(?:转|ext\.?|x)\s?(\d{1,6})\s*$", re.IGNORECASE)
_QUANTITY = re.compile(
    r"(?:[x×*]\s*)?(?P<number>(?:[-−]\s?)?\+?\d[\d,]*(?:\.\d+)?)\s*+(?:[x×*](?!\w))?\s*+"
    r"(?P<unit>[^\W\d]{1,8}(?:/[^\W\d]{1,6}|\.)?)?",
    re.IGNORECASE,
)
_LIKE_DIGIT = re.compile(r"(?<=[\d.,])[OoQDIl|SBZ](?![A-Za-z])|(?<![A-Za-z])[OoQDIl|SBZ](?=[\d.,])")
_PERCENT = re.compile(r"(?P<sign>[-−+]?)\s?(?P<number>\d+(?:[.,]\d+)?)\s*%?")


def _words(value: str, style: PageStyle) -> str | None:
    return " ".join(unicodedata.normalize("NFKC", value).split()) or None


def _identifier(value: str, style: PageStyle) -> str | None:
    return "".join(unicodedata.normalize("NFKC", value).split()).upper().strip(".:,;#") or None


def _money(value: str, style: PageStyle) -> dict[str, str | None] | None:
    money = parse_money(value, style)
    return money.json() if money else None


def _date(value: str, style: PageStyle) -> str | dict[str, list[str]] | None:
    found = {readings for _, readings in find_dates(value, style)}
    if not found:
        return _month(value)
    if len(found) != 1:
        return None
    readings = [d.isoformat() for d in found.pop()]
    return readings[0] if len(readings) == 1 else {"candidates": readings}


def _month(value: str) -> str | None:
    """Return the month of a date without a day (EXP 05/2026) as "2026-05"."""
    found = {month for _, month in find_months(value)} or {m for m in (month_of_expiry(value),) if m}
    year, month = found.pop() if len(found) == 1 else (0, 0)
    return f"{year}-{month:02}" if year else None


def _time_text(value: time) -> str:
    return value.isoformat(timespec="seconds" if value.second else "minutes")


def _time(value: str, style: PageStyle) -> str | None:
    found = {t for _, t in find_times(value, style, point=True)}
    return _time_text(found.pop()) if len(found) == 1 else None


def _datetime(value: str, style: PageStyle) -> str | dict[str, list[str]] | None:
    day, clock = _date(value, style), _time(value, style)
    if day is None or clock is None:
        return day
    if isinstance(day, dict):
        return {"candidates": [f"{d}T{clock}" for d in day["candidates"]]}
    return f"{day}T{clock}"


def _phone(value: str, style: PageStyle) -> str | None:
    plain = to_halfwidth(value)
    extension = _EXTENSION.search(plain)
    if extension:
        plain = plain[: extension.start()]
    match = _PHONE.search(plain)
    if not match:
        return None
    digits = re.sub(r"\D", "", match[0])
    number = ("+" if "+" in match[0] else "") + digits
    if not 5 <= len(digits) <= 15:  # ITU-T E.164 allows 15; short service numbers have 5
        return None
    return f"{number};ext={extension[1]}" if extension else number  # RFC 3966


def _quantity(value: str, style: PageStyle) -> dict[str, str | None] | None:
    match = _QUANTITY.fullmatch(to_halfwidth(value).strip())
    if not match:
        return None
    number = decimal(match["number"].lstrip("-−+ "), style)
    sign = "-" if match["number"][0] in "-−" else ""
    return {"number": f"{sign}{number.normalize():f}", "unit": match["unit"]}


def _percent(value: str, style: PageStyle) -> str | None:
    match = _PERCENT.fullmatch(to_halfwidth(value).strip())
    if not match:
        return None
    sign = "-" if match["sign"] in ("-", "−") else ""
    return f"{sign}{decimal(match['number']).normalize():f}"


_NORMALIZERS: Mapping[FieldType, Callable[[str, PageStyle], Any]] = {
    FieldType.TEXT: _words,
    FieldType.NAME: _words,
    FieldType.ADDRESS: _words,
    FieldType.IDENTIFIER: _identifier,
    FieldType.MONEY: _money,
    FieldType.DATE: _date,
    FieldType.TIME: _time,
    FieldType.DATETIME: _datetime,
    FieldType.PHONE: _phone,
    FieldType.QUANTITY: _quantity,
    FieldType.PERCENT: _percent,
}


def normalize(value: str, type: FieldType, style: PageStyle = PLAIN) -> Any | None:
    """Return a printed value as JSON, or None if it cannot be parsed.

    Money → {"amount": "36.80", "currency": "CNY" or None}; date → ISO 8601, a month "2026-05", or {"candidates": [likeliest,
    …]}; time → "20:13" or "20:13:39"; phone → digits with + and ;ext= (RFC 3966); quantity → {"number": "2.5", "unit": "kg" or
    None}; per cent → "6"; identifiers without spaces, upper case; words in NFKC with single spaces.
    """
    normalizer = _NORMALIZERS.get(type)
    return normalizer(value, style) if normalizer else None


def _number_key(value: str) -> str:
    """Return the number with letters that OCR confuses with digits replaced: 9.O0 equals 9.00."""
    money = parse_money(_LIKE_DIGIT.sub(_as_digit, value)) or parse_money(value)
    return f"{money.amount.normalize():f}" if money else normalise_key(value)


def _as_digit(match: re.Match[str]) -> str:
    return match[0].translate(CONFUSED)


def _with_likeliest_year(readings: Sequence[str]) -> Iterator[str]:
    """Yield the readings with the year of the first: 12/03/18 and 12/03/2018 compare equal."""
    return (r for r in readings if r[:4] == readings[0][:4])


def comparable(value: str, type: FieldType) -> str:
    """Return the form in which evaluation compares two values for an exact match.

    Names, addresses, text, identifiers: NFKC, lower case, letters and digits only (spaces and punctuation removed). Money: the
    amount as a plain decimal without trailing zeros, without currency, with letters that resemble digits replaced (O → 0). Dates:
    the calendar date; if day and month are ambiguous, the readings of the likeliest year, joined by "|". Times, phones,
    quantities, per cents: their normalised form. A value that cannot be parsed is compared as text.
    """
    if type is FieldType.MONEY:
        return _number_key(value)
    if type in (FieldType.TEXT, FieldType.NAME, FieldType.ADDRESS, FieldType.IDENTIFIER, FieldType.ROWS):
        return normalise_key(value)
    normal = normalize(value, type)
    if normal is None:
        return normalise_key(value)
    if isinstance(normal, dict):
        return "|".join(_with_likeliest_year(normal["candidates"])) if "candidates" in normal else str(normal["number"])
    return str(normal)
