"""Numbers with a form of their own: IBAN, VAT, card, tax and article numbers, checked by python-stdnum.

A number without the form of an IBAN is not an IBAN, whatever label stands before it. A wrong check digit alone is no reason to
withhold a number: a letter may be misread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum

from stdnum import ean, iban, luhn
from stdnum.cn import uscc
from stdnum.eu import vat

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.values.span import Span, to_halfwidth


class IdentifierKind(Enum):
    """A kind of number whose form is known."""

    IBAN = "iban"
    VAT = "vat"
    CARD = "card"
    GTIN = "gtin"
    CHINESE_TAX = "uscc"


_VAT_NAMES = r"(?:eu)?(?:vat|ust|umsatzsteuer|tva|btw|iva)"
_NAMES: tuple[tuple[IdentifierKind, re.Pattern[str]], ...] = (
    (IdentifierKind.IBAN, re.compile(r"^(?:bank|account)?iban(?:no|number|code)?$")),
    (IdentifierKind.VAT, re.compile(rf"^{_VAT_NAMES}(?:id|idno|idnr|idnumber|no|nr|number|regno|registrationnumber)$")),
    (IdentifierKind.GTIN, re.compile(r"^(?:gtin|ean|upc)(?:code|no|number|\d{1,2})?$|^(?:商品)?条形?码$")),
    (IdentifierKind.CARD, re.compile(r"^(?:bank|credit|debit)?card(?:no|number)$|^(?:银行|信用)卡号码?$")),
    (IdentifierKind.CHINESE_TAX, re.compile(r"统一社会信用代码|纳税人识别号")),
)
_IBAN_FORM = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?(?![A-Z0-9])")
_VAT = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[ -]?[A-Z0-9]{1,2}(?:[ .]?\d){5,11}(?:[A-Z]{1,2}|B\d\d)?(?![A-Z0-9])")
_GTIN = re.compile(r"(?<![\d.,-])(?:\d{12,14}|\d{8})(?![\d.,-])")


def identifier_kind(words: str) -> IdentifierKind | None:
    """Return the kind of number that a client asks for with these words, or None."""
    key = normalise_key(words)
    return next((kind for kind, pattern in _NAMES if pattern.search(key)), None)


def _compact(text: str) -> str:
    return re.sub(r"[\s.·-]", "", to_halfwidth(text)).upper()


def has_form(kind: IdentifierKind, text: str) -> bool:
    """Return whether the text has the form of the kind. Its check digits may be wrong."""
    number = _compact(text)
    digits = sum(c.isdigit() for c in number)
    if kind is IdentifierKind.IBAN:
        return bool(_IBAN_FORM.fullmatch(number))
    if kind is IdentifierKind.GTIN:
        return number.isdigit() and len(number) in (8, 12, 13, 14)
    if kind is IdentifierKind.CARD:
        return digits >= 4 and len(number) <= 19 and all(c.isdigit() or c in "*X#•" for c in number)
    if kind is IdentifierKind.CHINESE_TAX:
        return number.isalnum() and len(number) in (15, 18, 20)
    return number.isalnum() and digits >= 6 and 7 <= len(number) <= 17


def is_valid(kind: IdentifierKind, text: str) -> bool:
    """Return whether the number is of the kind by its check digits."""
    number = _compact(text)
    return number.isascii() and _VALID[kind](number)


_VALID: Mapping[IdentifierKind, Callable[[str], bool]] = {
    IdentifierKind.IBAN: iban.is_valid,
    IdentifierKind.VAT: vat.is_valid,
    IdentifierKind.CARD: lambda number: len(number) >= 12 and bool(luhn.is_valid(number)),
    IdentifierKind.GTIN: ean.is_valid,
    IdentifierKind.CHINESE_TAX: uscc.is_valid,
}
# Numbers that are found without a label. Other long numbers pass the check of a card, and a Chinese invoice has two tax numbers.
_PATTERNS: Mapping[IdentifierKind, re.Pattern[str]] = {
    IdentifierKind.IBAN: _IBAN,
    IdentifierKind.VAT: _VAT,
    IdentifierKind.GTIN: _GTIN,
}


def find_valid(text: str, kind: IdentifierKind) -> list[Span]:
    """Return the numbers of the text that are of the kind by their check digits."""
    pattern = _PATTERNS.get(kind)
    found = []
    for match in pattern.finditer(to_halfwidth(text)) if pattern else ():
        if is_valid(kind, match[0]):
            end = match.start() + len(match[0].rstrip(" ."))
            found.append(Span(match.start(), end, text[match.start() : end]))
    return found
