"""Chinese numerals: numbers, and amounts of money in words."""

from __future__ import annotations

import re
from decimal import Decimal

ZH_DIGITS = {
    c: n
    for n, row in enumerate(("零〇", "一壹", "二贰两貳", "三叁叄", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖"))
    for c in row
}
ZH_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_ZH_LARGE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_ZH_NUMBER = "".join((*ZH_DIGITS, *ZH_UNITS, *_ZH_LARGE))
ZH_MONEY = re.compile(
    rf"(?:人民币)?[:：]?(?<![{_ZH_NUMBER}])(?P<yuan>[{_ZH_NUMBER}]+)\s?[元圆圓](?:(?P<jiao>[{_ZH_NUMBER}])角)?零?(?:(?P<fen>[{_ZH_NUMBER}])分)?[整正]?"
)


def chinese_number(text: str) -> int:
    """Parse a Chinese number: 叁拾陆 → 36, 一万二千 → 12000."""
    total = section = digit = 0
    for c in text:
        if c in ZH_DIGITS:
            digit = ZH_DIGITS[c]
        elif c in ZH_UNITS:
            section += (digit or 1) * ZH_UNITS[c]
            digit = 0
        else:
            total += (section + digit) * _ZH_LARGE[c]
            section = digit = 0
    return total + section + digit


def chinese_amount(match: re.Match[str]) -> Decimal | None:
    """Return the amount of a match of `ZH_MONEY`; None if it has units alone (万元)."""
    if not any(c in ZH_DIGITS or c in ZH_UNITS for c in match["yuan"]):
        return None
    cents = sum(chinese_number(match[unit]) * size for unit, size in (("jiao", 10), ("fen", 1)) if match[unit])
    return Decimal(chinese_number(match["yuan"])) + Decimal(cents).scaleb(-2)
