"""Amounts of money in a text, as exact decimals with their currency.

A number is taken whole or not at all: 35.50 is not in 35.50.2025, and 895 not in VAT 232 153 895. Both decimal marks and the
groups of all countries are supported (1,234.50, 1.234,50, 1 234,50, 1'234.50, 1,23,456.00); where a mark may be either
(75.000), the page decides (`PageStyle`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hunyuanocr.fields.values.currencies import WORDS, currency, is_currency
from hunyuanocr.fields.values.numerals import ZH_MONEY, chinese_amount
from hunyuanocr.fields.values.span import Span, to_halfwidth
from hunyuanocr.fields.values.style import PLAIN, PageStyle

_WHOLE = r"(?!\d|[.,'’]\d)"  # the end of a number
_GROUPED = r"\d{1,3}(?:[,.'’]\d{3}){1,6}(?!\d)|\d{1,2}(?:,\d{2}){1,6},\d{3}(?!\d)"  # 1,234,567 and 1,23,456
_DECIMALS = r"(?:[.,]\d{1,6}|\s?[.,]\s?\d\d)"  # a reader sometimes adds a space next to the mark
_NUMBER = re.compile(
    rf"(?<![\d.,])(?<!\d['’])(?:(?P<spaced>\d{{1,3}}(?: \d{{3}}){{1,5}}(?:[.,]\d\d)?{_WHOLE})"
    rf"|(?:{_GROUPED}|\d+){_DECIMALS}?{_WHOLE}|\.\d{{2}}(?!\d))"
)
_UNSPACED = re.compile(rf"(?<![\d.,])(?:\d+{_DECIMALS}?{_WHOLE})")
# Groups of digits without decimals are one longer number: a tax number, a card, a telephone number.
_GROUPS = re.compile(r"(?<![\d.,])\d{2,9}(?:[ -]\d{2,9}){2,6}(?![\d.,]|[ -]\d)")
_MINUS = r"(?<!\w)(?:[-−–]\s?|\+)"
_BEFORE = re.compile(
    rf"(?P<open>\()?(?P<minus>{_MINUS})?"
    rf"(?:(?P<sign>{WORDS}|(?<![A-Za-z0-9])[A-Za-zđłč]{{1,4}}[.$/]{{0,2}}|[^\w\s()+:：,;.'\"−–-])"
    r"(?P<gap>\s{0,2}[:：]?\s?)(?P<minus2>[-−–]\s?|\+)?)?$"
)
_AFTER = re.compile(rf"(?P<gap>\s?)(?P<sign>{WORDS}|[^\W\d_]{{1,4}}\.?|[^\w\s()+:：,;.'\"−–-])(?!\.?[^\W\d_]|\s?\d)")
_CHINESE_AFTER = re.compile(r"\s?(?P<sign>[元圆圓块塊円원])")
_CLOSE = re.compile(r"(?P<minus>-(?!\w))?(?P<close>\))?")
_DIGIT = re.compile(r"\d")
_LETTERS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Za-z]{1,40}$")
# A unit, per cent, a fraction, a misread digit, a time.
_NOT_MONEY_AFTER = re.compile(r"[A-Za-z]|[%/]|\s%|[.,][OolISB]\d|:\d\d(?!\d)")
_CENTS = re.compile(r"\d[.,]\d\d$")
_CODE_DIGITS = 9  # digits of a code in groups; prices in a row have fewer
_CODE_AFTER = re.compile(r"[-–]\w")
_CODE_BEFORE = re.compile(r"\d[-–:](?=\d)")
# Letters that OCR confuses with digits; used to compare numbers, never for values.
CONFUSED = str.maketrans("OoQDIl|!SsBZz", "0000111155822")


@dataclass(frozen=True)
class Money:
    """An exact amount and its ISO 4217 currency, if one is printed."""

    amount: Decimal
    currency: str | None

    def json(self) -> dict[str, str | None]:
        """Return the JSON form: at least two decimals."""
        exponent = self.amount.as_tuple().exponent
        places = max(2, -exponent if isinstance(exponent, int) else 2)
        return {"amount": f"{self.amount:.{places}f}", "currency": self.currency}


def decimal(number: str, style: PageStyle = PLAIN) -> Decimal:
    """Parse digits with thousands and decimal separators ("1,234.50", "1.234,50", "36. 80", "1 234,50")."""
    digits = re.sub(r"[\s'’]", "", number)
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return Decimal(digits)
    whole, mark, part = digits[:last], digits[last], digits[last + 1 :]
    if len(part) == 3 and _is_group(whole, mark, style):
        whole, part = whole + part, ""
    whole = whole.replace(",", "").replace(".", "")
    return Decimal(f"{whole or '0'}.{part}" if part else whole or "0")


def _is_group(whole: str, mark: str, style: PageStyle) -> bool:
    """Return whether three digits after a mark are thousands: "1,234" and "1.234.567"; "1.234" only if the page writes so."""
    other = "," if mark == "." else "."
    if other in whole or whole.lstrip("0") == "":
        return False
    if mark in whole:
        return True
    return style.decimal != "," if mark == "," else style.decimal == "," or style.point_groups


def _before(text: str, first: int, start: int) -> re.Match[str]:
    """Return the match of bracket, sign and currency that ends at `start`. It may be empty, so there always is one."""
    return next(_BEFORE.finditer(text, first, start))


def _currency_before(text: str, start: int, style: PageStyle, decimals: bool) -> tuple[re.Match[str], str]:
    """Return the bracket, the sign and the currency directly before a number, and the currency."""
    match = _before(text, max(0, start - 12), start)
    sign = match["sign"] or ""
    if sign and not is_currency(sign, style, before=True, decimals=decimals, apart=bool(match["gap"])):
        match, sign = _before(text, match.end("sign"), start), ""
        if match["sign"]:  # two words
            match = _before(text, start, start)
    return match, sign


def _currency_after(text: str, end: int, style: PageStyle, decimals: bool) -> tuple[int, str]:
    """Return the end of an amount with the currency after it, and the currency."""
    match = _AFTER.match(text, end) if end < len(text) else None
    if match and is_currency(match["sign"], style, decimals=decimals, apart=bool(match["gap"])):
        return match.end(), match["sign"]
    match = None if text.isascii() else _CHINESE_AFTER.match(text, end)
    return (match.end(), match["sign"]) if match else (end, "")


def _read(text: str, start: int, end: int, style: PageStyle) -> tuple[Span, Money] | None:
    """Return the amount of the digits `start` … `end` with its sign and currency; None if they are something else."""
    digits = text[start:end]
    decimals = not digits.isdigit()
    before, sign = _currency_before(text, start, style, decimals)
    last, sign_after = (end, "") if sign else _currency_after(text, end, style, decimals)
    close = _CLOSE.match(text, last)
    bracketed = bool(before["open"] and close and close["close"])
    first = start - len(before[0]) + (1 if before["open"] and not bracketed else 0)
    if _is_other(text, digits, first, start, last, has_currency=bool(sign or sign_after)):
        return None
    minus = "".join((before["minus"] or "", before["minus2"] or "", (close and close["minus"]) or "")).strip(" +")
    if close and (bracketed or close["minus"]):
        last = close.end() if bracketed else close.end("minus")
    if not decimals and before["minus"] == "+":
        first += 1  # +60 begins a telephone number
    amount = decimal(digits, style)
    code = currency(sign or sign_after, style) if sign or sign_after else None
    return Span(first, last, text[first:last]), Money(-amount if minus or bracketed else amount, code)


def _is_other(text: str, digits: str, first: int, start: int, last: int, *, has_currency: bool) -> bool:
    """Return whether the digits are a part of a code, a fraction, a time, a per cent, or have a unit."""
    if first and not text[first - 1].isspace():
        letters = _LETTERS_BEFORE.search(text, max(0, first - 3), first)
        # PM1.00 is a misread RM1.00; A12 is a code.
        if letters and (len(letters[0]) > 2 or not _CENTS.search(digits)):
            return True
        if text[first - 1] in "#/" or (text[first - 1] == "@" and not has_currency):
            return True
    if not has_currency and digits.isdigit() and (_CODE_AFTER.match(text, last) or _CODE_BEFORE.match(text, max(0, start - 2))):
        return True
    return last < len(text) and _NOT_MONEY_AFTER.match(text, last) is not None


def _is_product(groups: Sequence[str], following: str | None) -> bool:
    """Return whether numbers with a space between them are a quantity, a price and an amount: 2 150 300."""
    numbers = [Decimal(g.replace(",", ".")) for g in groups]
    if following is not None:
        return len(numbers) == 2 and numbers[0] * numbers[1] == decimal(following)
    return len(numbers) == 3 and numbers[0] * numbers[1] == numbers[2]


def _numbers(text: str, style: PageStyle) -> Iterator[tuple[int, int]]:
    """Yield the start and end of the numbers in the text; digits with spaces are one number or several."""
    codes = []
    for match in _GROUPS.finditer(text) if len(text) > 10 else ():
        if sum(map(str.isdigit, match[0])) >= _CODE_DIGITS and not _is_product(re.split("[ -]", match[0]), None):
            codes.append(match.span())
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        found = [(start, end)]
        if match["spaced"] is not None and not _is_one(text, start, end, style):
            found = [m.span() for m in _UNSPACED.finditer(text, start, end)]
        for a, b in found:
            inside = codes and any(first <= a < last for first, last in codes)
            if not inside or _has_currency(text, a, b, style):
                yield a, b


def _has_currency(text: str, start: int, end: int, style: PageStyle) -> bool:
    decimals = "," in text[start:end] or "." in text[start:end]
    return bool(_currency_before(text, start, style, decimals)[1] or _currency_after(text, end, style, decimals)[1])


def _is_one(text: str, start: int, end: int, style: PageStyle) -> bool:
    """Return whether digits with spaces are one amount: with decimals after a comma, with a currency, or as the page writes."""
    groups = text[start:end].split(" ")
    following = _NUMBER.match(text, end + 1) if text[end : end + 1] == " " else None
    if _is_product(groups, following[0] if following else None):
        return False
    if "," in groups[-1] or style.space_groups or (len(groups) > 2 and "." in groups[-1]):
        return True
    return _has_currency(text, start, end, style)


def find_money(text: str, style: PageStyle = PLAIN) -> list[tuple[Span, Money]]:
    """Return the amounts of the text, left to right. A number with a per cent sign or adjacent letters is not an amount."""
    plain = to_halfwidth(text)
    found: list[tuple[Span, Money]] = []
    for start, end in _numbers(plain, style) if _DIGIT.search(plain) else ():
        if amount := _read(plain, start, end, style):
            span, money = amount
            found.append((span if plain is text else Span(span.start, span.end, text[span.start : span.end]), money))
    for match in () if plain.isascii() else ZH_MONEY.finditer(plain):
        if (words := chinese_amount(match)) is not None:
            found.append((Span(*match.span(), text[match.start() : match.end()]), Money(words, currency("元", style))))
    return sorted(found, key=lambda f: f[0].start) if len(found) > 1 else found


def parse_money(text: str, style: PageStyle = PLAIN) -> Money | None:
    """Return the amount of the text; None if it has none, or several different ones."""
    found = [money for _, money in find_money(text, style)]
    if not found or any(m.amount != found[0].amount for m in found):
        return None
    return next((m for m in found if m.currency), found[0])
