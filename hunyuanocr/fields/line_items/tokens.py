"""The tokens of a row of line items: names, counts, amounts; merged text is split."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.money import decimal, find_money
from hunyuanocr.fields.values.span import to_halfwidth

_UNIT = r"(?:kg|g|pcs?|nos|ea|pkt|box|btl|set|unit|公斤|[份盒瓶个件杯碗包支条袋串只斤张片台双套本例粒块桶箱罐板卷把盆锅打次天剂])"
_TIMES = r"[x×*✕X]"
_SIGN = r"(?:RM|S\$|US\$|[¥￥$€£])?\s?"
_NUMBER = r"\d+(?:[.,]\d{1,3})?"
# 2 x 3.50, 3.50*2, 2pc @ 3.50, 0.522kg*7.00
_PACKED = re.compile(
    rf"(?<![\d.])(?P<a>{_SIGN}{_NUMBER})\s?(?P<u>{_UNIT})?\s?(?:{_TIMES}|@)\s?(?P<b>{_SIGN}{_NUMBER})(?P<v>{_UNIT})?(?![\w.])",
    re.IGNORECASE,
)
_COUNT = re.compile(rf"(?:{_TIMES}|#)?\s?(?P<n>\d{{1,4}}(?:\.\d{{1,3}})?)\s?(?:{_UNIT})?(?:\s?{_TIMES})?", re.IGNORECASE)
_TAIL = re.compile(rf"(?<=[^\d\s.*×xX])\s*{_TIMES}\s?(?P<n>\d{{1,3}}(?:\.\d{{1,3}})?{_UNIT}?)$", re.IGNORECASE)
_LEAD = re.compile(
    rf"^(?P<n>\d{{1,3}}(?:\.\d{{1,3}})?{_UNIT}?)(?:\s?{_TIMES}\s?|\s+|(?=[一-鿿]))(?=[^\W\d]|[A-Za-z0-9]*[^\W\d])", re.IGNORECASE
)
_SPEC = re.compile(
    r"\d[\d.]*\s?(?:mg|g|ml|l|cl|oz|cm|mm|m|pk|s|ug|μg|iu|%|毫克|克|毫升|升|万单位)(?:\s?[*×x/]\s?\d+\s?[^\W\d_]{0,3})*|\d+\s?kg|\d+\s?[片粒支丸袋瓶盒包枚贴][/每]\w+",
    re.IGNORECASE,
)
_SIZE = re.compile(r"\d\s?(?:mg|g|kg|ml|l|cm|mm|m|%|片|粒|支|丸|袋|包)$", re.IGNORECASE)
_GLUED = re.compile(r"(?<=\.\d\d)(?=\d+\.\d\d)")
_CURRENCY_END = re.compile(r"(?<!\s)\s*(?:\bRMB|\bCNY|\bMYR|\bUSD|\bRM|[¥￥$])\s*$")  # of a separate amount
_NUMBERED = re.compile(r"^\s*\d{1,2}\s?[.、)）](?!\d)\s?")
_CODE = re.compile(r"^[A-Z]{0,3}[\d-]{5,14}[A-Z]?\s+(?=\S*[^\W\d])|^\d{5,14}$|^[A-Z]{2,4}\d{2,}\b[\d\s/-]*$")


class Kind(Enum):
    """The kind of a token."""

    NAME = "name"
    SPEC = "specification"
    COUNT = "count"
    MONEY = "money"


@dataclass(frozen=True)
class Token:
    """A part of a row; `column` if a sign determines it (2 × 3.50), `value` for counts and amounts."""

    kind: Kind
    cell: TextSegment
    value: Decimal = Decimal(0)
    column: str | None = None


def tokens(layout: Layout, row: Sequence[TextSegment]) -> list[Token]:
    """Return the tokens of a row from left to right."""
    return [token for cell in row for piece in _pieces(layout, cell) for token in _piece_tokens(layout, piece)]


def _pieces(layout: Layout, cell: TextSegment) -> Iterator[TextSegment]:
    """Split a segment between merged numbers (209.00209.00), and between a name and amounts."""
    text = to_halfwidth(cell.text)
    cuts = {m.start() for m in _GLUED.finditer(text)}
    if not _COUNT.fullmatch(text.strip()) and not any(_is_quantity_and_price(m) for m in _PACKED.finditer(text)):
        for span, money in find_money(text):
            if (money.currency or _has_money_format(span.text)) and (span.start == 0 or text[span.start - 1].isspace()):
                cuts |= {span.start, span.end}
    edges = [0, *sorted(c for c in cuts if 0 < c < len(text)), len(text)]
    for a, b in itertools.pairwise(edges):
        if any(c.isalnum() for c in text[a:b]):
            yield layout.segment(cell.line, cell.start + a, cell.start + b)


def _piece_tokens(layout: Layout, cell: TextSegment) -> Iterator[Token]:
    text = to_halfwidth(cell.text)

    def part(start: int, end: int) -> TextSegment:
        return layout.segment(cell.line, cell.start + start, cell.start + end)

    packed = next((m for m in _PACKED.finditer(text) if _is_quantity_and_price(m)), None)
    if _SPEC.fullmatch(text.strip()):
        yield Token(Kind.SPEC, cell)
    elif packed and not is_name(text[: packed.start()]) and not is_name(text[packed.end() :]):
        yield from _packed_tokens(part, packed)
        if any(c.isdigit() for c in text[packed.end() :]):
            yield from _piece_tokens(layout, part(packed.end(), len(text)))
    elif is_name(text):
        yield Token(Kind.NAME, cell)
    elif (found := find_money(text)) and (found[-1][1].currency or _has_money_format(found[-1][0].text)):
        for span, money in found:
            yield Token(Kind.MONEY, part(span.start, span.end), abs(money.amount))
    elif _COUNT.fullmatch(text.strip()):
        yield Token(Kind.COUNT, cell, _number(text))
    else:
        for match in re.finditer(r"\S+", text):
            if _COUNT.fullmatch(match[0]):
                yield Token(Kind.COUNT, part(*match.span()), _number(match[0]))


def _packed_tokens(part: object, match: re.Match[str]) -> Iterator[Token]:
    """Yield quantity and price of 2 × 3.50 or 3.50 × 2: the price has decimals or a currency, or comes second."""
    first = (match.start("a"), match.end("u") if match["u"] else match.end("a"))
    second = (match.start("b"), match.end("v") if match["v"] else match.end("b"))
    backwards = not match["u"] and "@" not in match[0] and _has_money_format(match["a"]) and not _has_money_format(match["b"])
    quantity, price = (second, first) if backwards else (first, second)
    make = part if callable(part) else None
    if make is not None:
        yield Token(Kind.COUNT, make(*quantity), _number(match.string[slice(*quantity)]), "quantity")
        yield Token(Kind.MONEY, make(*price), _number(match.string[slice(*price)]), "unit_price")


def _is_quantity_and_price(match: re.Match[str]) -> bool:
    """Return whether it is a quantity and a price, not the size of a pack (0.5g*30片)."""
    return _has_money_format(match["a"]) or _has_money_format(match["b"]) or not (match["u"] or match["v"])


def _has_money_format(text: str) -> bool:
    return bool(re.search(r"[.,]\s?\d\d?$|\.\d{3,}$|[^\d.,\s]", text))


def _number(text: str) -> Decimal:
    match = re.search(r"\d[\d,]*(?:\.\d+)?", to_halfwidth(text))
    return decimal(match[0]) if match else Decimal(0)


def is_name(text: str) -> bool:
    """Return whether the text is a name, not a number with a unit, a code or a date."""
    plain = re.sub(r"^(?:RMB|MYR|CNY|USD|SGD|EUR|GBP)(?=\s?\d)", "", to_halfwidth(text).strip(" .*#-"))
    if _COUNT.fullmatch(plain) or _PACKED.fullmatch(plain) or find_dates(plain):
        return False
    amounts = find_money(plain)
    if len(amounts) == 1 and amounts[0][0].text == plain:
        return False
    chinese = sum(c.isalpha() and ord(c) > 0x2E80 for c in plain)
    latin = sum(c.isascii() and c.isalpha() for c in plain)
    if _CODE.fullmatch(plain) or (any(c.isdigit() for c in plain) and latin < 3 and not chinese):
        return False
    return chinese >= 1 or latin >= 3


def trimmed_name(layout: Layout, cell: TextSegment) -> TextSegment:
    """Return a name without a preceding list number or code."""
    text = to_halfwidth(cell.text)
    start = match.end() if (match := _NUMBERED.match(text)) else 0
    start += match.end() if (match := _CODE.match(text[start:])) and match.end() < len(text) - start else 0
    end = len(text) - (len(match[0]) if (match := _CURRENCY_END.search(text)) else 0)
    return layout.segment(cell.line, cell.start + start, cell.start + max(end, start))


def leading_quantity(layout: Layout, cell: TextSegment) -> tuple[TextSegment, TextSegment] | None:
    """Return a quantity before the name (2 Flat White, 2x Latte, 3份红烧肉) and the name, or None."""
    match = _LEAD.match(to_halfwidth(cell.text))
    if not match or _NUMBERED.match(to_halfwidth(cell.text)):
        return None
    return layout.segment(cell.line, cell.start, cell.start + match.end("n")), layout.segment(
        cell.line, cell.start + match.end(), cell.end
    )


def trailing_quantity(layout: Layout, cell: TextSegment) -> tuple[TextSegment, TextSegment] | None:
    """Return a quantity after the name (Latte x2) and the name, or None."""
    text = to_halfwidth(cell.text).rstrip()
    match = _TAIL.search(text)
    if not match or (match[0][0] in "*×xX" and _SIZE.search(text[: match.start()])):  # 0.25g*6 is the size of a pack
        return None
    return layout.segment(cell.line, cell.start + match.start("n"), cell.start + match.end("n")), layout.segment(
        cell.line, cell.start, cell.start + match.start()
    )


def is_numbered(text: str) -> bool:
    """Return whether a line begins with a list number: 1. or 1、"""
    return bool(_NUMBERED.match(to_halfwidth(text)))
