"""Amounts of money in a text, as exact decimals with their currency.

Ambiguous signs have a default: ¥ is CNY, $ alone is USD. Both decimal separators are supported: the last of comma and point is
the decimal separator if one or two digits follow it, or if both occur.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from hunyuanocr.fields.values.span import Span, to_halfwidth

_CURRENCIES = {
    "¥": "CNY",
    "￥": "CNY",
    "元": "CNY",
    "圆": "CNY",
    "块": "CNY",
    "rmb": "CNY",
    "cny": "CNY",
    "人民币": "CNY",
    "y": "CNY",
    "羊": "CNY",
    "rm": "MYR",
    "myr": "MYR",
    "$": "USD",
    "usd": "USD",
    "us$": "USD",
    "美元": "USD",
    "s$": "SGD",
    "sgd": "SGD",
    "hk$": "HKD",
    "hkd": "HKD",
    "港币": "HKD",
    "nt$": "TWD",
    "€": "EUR",
    "eur": "EUR",
    "欧元": "EUR",
    "£": "GBP",
    "gbp": "GBP",
    "円": "JPY",
    "jpy": "JPY",
    "日元": "JPY",
    "₩": "KRW",
}
_BEFORE = (
    r"人民币|美元|港币|RMB|CNY|MYR|USD|SGD|HKD|EUR|GBP|JPY|US\$|HK\$|NT\$|S\$|RM|[¥￥$€£₩]"
    r"|羊|Y(?=\d+[.,]\d\d)"  # common misreadings of ¥
)
_AFTER = r"元|圆|块|円|美元|欧元|日元|RMB|CNY|MYR|USD|SGD|HKD|EUR|GBP|JPY|€"
# A number: groups of three digits, or plain digits; decimals; OCR sometimes adds a space next to the point.
_NUMBER = r"(?:(?:\d{1,3}(?:[,.'’]\d{3})+(?!\d)|\d+)(?:\s?[.,]\s?\d{1,4})?|\.\d{2}(?!\d))"
_MONEY = re.compile(
    rf"(?P<open>\()?(?P<minus>[-−–]\s?)?(?P<before>(?<![A-Za-z])(?:{_BEFORE})\s*)?[:：]?\s?(?P<minus2>[-−–]\s?)?"
    rf"(?<![\d.,])(?P<number>{_NUMBER})(?P<after>\s?(?:{_AFTER})(?![A-Za-z]))?(?P<minus3>-(?![\d]))?(?P<close>\))?",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_LETTERS_BEFORE = re.compile(r"(?<![A-Za-z])[A-Za-z]+$")
_NOT_MONEY_AFTER = re.compile(r"[A-Za-z]|[%/]|\s%|[.,][OolISB]\d")  # a unit, per cent, a fraction, a digit misread as a letter
# Letters that OCR confuses with digits; used to compare numbers, never for values.
CONFUSED = str.maketrans("OoQDIl|!SsBZz", "0000111155822")

_ZH_DIGITS = {
    c: n
    for n, row in enumerate(("零〇", "一壹", "二贰两貳", "三叁叄", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖"))
    for c in row
}
_ZH_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_ZH_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_ZH_NUMBER = "".join((*_ZH_DIGITS, *_ZH_UNITS, *_ZH_LARGE))
_ZH_MONEY = re.compile(
    rf"(?:人民币)?[:：]?(?<![{_ZH_NUMBER}])(?P<yuan>[{_ZH_NUMBER}]+)\s?[元圆圓](?:(?P<jiao>[{_ZH_NUMBER}])角)?零?(?:(?P<fen>[{_ZH_NUMBER}])分)?[整正]?"
)


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


def decimal(number: str) -> Decimal:
    """Parse digits with thousands and decimal separators ("1,234.50", "1.234,50", "36. 80")."""
    digits = re.sub(r"[\s'’]", "", number)
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return Decimal(digits)
    whole, sign, part = digits[:last], digits[last], digits[last + 1 :]
    other = "," if sign == "." else "."
    grouped = sign == "," or sign in whole  # "1,234" and "1.234.567" are integers, "1.234" is not
    if len(part) == 3 and grouped and other not in whole:
        whole, part = whole + part, ""
    whole = whole.replace(",", "").replace(".", "")
    return Decimal(f"{whole or '0'}.{part}" if part else whole or "0")


def chinese_number(text: str) -> int:
    """Parse a Chinese number: 叁拾陆 → 36, 一万二千 → 12000."""
    total = section = digit = 0
    for c in text:
        if c in _ZH_DIGITS:
            digit = _ZH_DIGITS[c]
        elif c in _ZH_UNITS:
            section += (digit or 1) * _ZH_UNITS[c]
            digit = 0
        else:
            total += (section + digit) * _ZH_LARGE[c]
            section = digit = 0
    return total + section + digit


def _chinese(match: re.Match[str]) -> Money:
    cents = sum(chinese_number(match[unit]) * size for unit, size in (("jiao", 10), ("fen", 1)) if match[unit])
    return Money(Decimal(chinese_number(match["yuan"])) + Decimal(cents).scaleb(-2), "CNY")


def _arabic(match: re.Match[str]) -> Money:
    sign = (match["before"] or match["after"] or "").strip().lower()
    amount = decimal(match["number"])
    bracketed = bool(match["open"] and match["close"])
    negative = bracketed or any(match[m] for m in ("minus", "minus2", "minus3"))
    return Money(-amount if negative else amount, _CURRENCIES.get(sign))


def _trimmed(match: re.Match[str]) -> Span:
    """Return the match without an unpaired bracket and without outer spaces."""
    start, end = match.span()
    if "open" in match.re.groupindex:
        start += bool(match["open"] and not match["close"])
        end -= bool(match["close"] and not match["open"])
    text = match.string[start:end]
    start += len(text) - len(text.lstrip(" :："))
    return Span(start, end, text.strip(" :："))


def find_money(text: str) -> list[tuple[Span, Money]]:
    """Return the amounts of the text, left to right. A number with a per cent sign or adjacent letters is not an amount."""
    plain = to_halfwidth(text)
    found: list[tuple[Span, Money]] = []
    for match in _MONEY.finditer(plain) if _DIGIT.search(plain) else ():
        span = _trimmed(match)
        before, after = plain[max(0, span.start - 3) : span.start], plain[span.end : span.end + 3]
        letters = _LETTERS_BEFORE.search(before)
        glued = letters[0] if letters else ""
        # PM1.00 is a misread RM1.00; A12 is a code.
        if len(glued) > 2 or (glued and not re.search(r"\d[.,]\d\d$", span.text)) or before[-1:] in ("#", "/", "@"):
            continue
        if not _NOT_MONEY_AFTER.match(after):
            found.append((Span(span.start, span.end, text[span.start : span.end]), _arabic(match)))
    for match in () if plain.isascii() else _ZH_MONEY.finditer(plain):
        if any(c in _ZH_DIGITS or c in _ZH_UNITS for c in match["yuan"]):
            found.append((Span(*match.span(), text[match.start() : match.end()]), _chinese(match)))
    return sorted(found, key=lambda f: f[0].start)


def parse_money(text: str) -> Money | None:
    """Return the amount of the text; None if it has none, or several different ones."""
    found = [money for _, money in find_money(text)]
    if not found or any(m.amount != found[0].amount for m in found):
        return None
    return next((m for m in found if m.currency), found[0])
