"""The habits of a page: its number forms, its order of dates, its currencies. Computed once for a page, used by all finders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hunyuanocr.fields.values.span import to_halfwidth

_COMMA = re.compile(r"(?<![\d.,])\d{1,3}(?:[. ]?\d{3}){0,4},\d\d(?![\d.,%])")  # 1.234,50
_POINT = re.compile(r"(?<![\d.,])\d{1,3}(?:[, ]?\d{3}){0,4}\.\d\d(?![\d.,%])")  # 1,234.50
_POINT_GROUP = re.compile(r"(?<![\d.,-])[1-9]\d{0,2}(?:\.\d{3}){1,4}(?![\d.,]|\s?[a-z])")  # 75.000
_SPACE_GROUP = re.compile(
    r"(?<![\d.,] )(?<![\d.,])[1-9]\d{0,2}(?: \d{3}){1,3}(?:,\d\d)?\s?(?:€|EUR|kr|zł|Kč|Ft|PLN|CZK|SEK|NOK|₽)(?!\w)"
)
_WHOLE_CURRENCY = re.compile(r"(?<![A-Za-z])(?:Rp\.?|IDR|VND|CLP|COP|PYG)(?![A-Za-z])|[₫đ](?![a-z])")  # no decimals in use
_DOLLAR = re.compile(r"(?<![A-Za-z])(?:(AUD|CAD|SGD|HKD|NZD|TWD|MXN)(?![A-Za-z])|(HK|NT|NZ|AU|CA|S)\$)")
_DOLLARS = {"HK": "HKD", "NT": "TWD", "NZ": "NZD", "AU": "AUD", "CA": "CAD", "S": "SGD"}
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_EAST_ASIAN = re.compile("[\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]")
_LATIN = re.compile("[A-Za-z]")
_THAI = re.compile("[\u0e01-\u0e2e]")
_TAIWAN = re.compile("民國|統一編號|統一發票|電子發票|營業人|新[臺台]幣|NT\\$|台北|臺北|高雄|臺灣|台灣")
# A state with its postal code, or a telephone number as in North America.
_STATES = "A[LKZR]|C[AOT]|D[CE]|FL|GA|HI|I[DLNA]|K[SY]|LA|M[EDAINSOT]|N[EVHJMYCD]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[TA]|W[AVIY]"
_UNITED_STATES = re.compile(rf"(?<![A-Za-z])(?:{_STATES}),?\s\d{{5}}(?:-\d{{4}})?(?!\d)|\(\d{{3}}\)\s?\d{{3}}-\d{{4}}(?!\d)")
_DAY_FIRST_MONEY = re.compile(r"(?<![A-Za-z])(?:RM|MYR|HK\$|HKD|S\$|SGD)(?=\s?[\d-])|(?i:SDN\.?\s?BHD)")
_NUMERIC_DATE = re.compile(r"(?<![\d.,/-])(\d{1,2})[-/.](\d{1,2})[-/.](?:(?:19|20)\d\d|\d\d)(?![\d/-])")
_OTHER_RM = re.compile(r"(?<![A-Za-z])(?:RM|MYR)(?=\s?[\d-])")
_RAND = re.compile(r"(?<![A-Za-z0-9])R\s?\d{1,3}(?:[ ,]?\d{3}){0,3}[.,]\d\d(?!\d)")


@dataclass(frozen=True)
class PageStyle:
    """The habits of a page. The defaults are those of a text without a page."""

    decimal: str | None = None  # "." or ",", the decimal mark of most amounts
    point_groups: bool = False  # 75.000 is seventy-five thousand
    space_groups: bool = False  # 1 176 is one number
    kana: bool = False  # Japanese
    east_asian: bool = False  # Chinese, Japanese, Korean
    year_first: bool = False  # 25-03-05 is a day of 2025
    taiwan: bool = False
    thai: bool = False
    month_first: bool = False
    dollar: str | None = None  # the ISO 4217 code of the only dollar that is named on the page
    rand: bool = False  # amounts begin with R
    known: bool = False  # a page was examined

    @classmethod
    def of(cls, texts: Iterable[str]) -> PageStyle:
        """Return the habits of a page with these lines."""
        lines = [to_halfwidth(t) for t in texts]
        text = "\n".join(lines)
        dollars = {a or _DOLLARS[b] for a, b in _DOLLAR.findall(text)}
        kana = len(_KANA.findall(text)) >= 2
        letters, characters = len(_LATIN.findall(text)), len(_EAST_ASIAN.findall(text))
        east_asian = characters > 0 and 3 * characters >= letters  # a word has about six letters or two characters
        return cls(
            decimal=_decimal_mark(text),
            point_groups=_has_point_groups(text),
            space_groups=bool(_SPACE_GROUP.search(text)),
            kana=kana,
            east_asian=east_asian,
            year_first=east_asian and not _DAY_FIRST_MONEY.search(text),
            taiwan=not kana and bool(_TAIWAN.search(text)),
            thai=bool(_THAI.search(text)),
            month_first=_is_month_first(text),
            dollar=dollars.pop() if len(dollars) == 1 else None,
            rand=len(_RAND.findall(text)) >= 2 and not _OTHER_RM.search(text),
            known=True,
        )


PLAIN = PageStyle()


def _decimal_mark(text: str) -> str | None:
    comma, point = len(_COMMA.findall(text)), len(_POINT.findall(text))
    return None if comma == point else "," if comma > point else "."


def _has_point_groups(text: str) -> bool:
    """Return whether three digits after a point are thousands: most such numbers end in zero, and none has two decimals."""
    groups = _POINT_GROUP.findall(text)
    round_numbers = Counter(g.endswith("0") for g in groups)[True]
    if _POINT.search(text):
        return False
    return bool(groups) and (bool(_WHOLE_CURRENCY.search(text)) or (len(groups) >= 2 and 3 * round_numbers >= 2 * len(groups)))


def _is_month_first(text: str) -> bool:
    """Return whether the month is before the day: by the dates of the page with a day after 12, else in the United States."""
    dates = [(int(a), int(b)) for a, b in _NUMERIC_DATE.findall(text)]
    month_first, day_first = sum(a <= 12 < b <= 31 for a, b in dates), sum(b <= 12 < a <= 31 for a, b in dates)
    if month_first != day_first:
        return month_first > day_first
    return _decimal_mark(text) != "," and bool(_UNITED_STATES.search(text))
