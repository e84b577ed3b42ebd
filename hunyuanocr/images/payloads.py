"""The payloads of codes that are understood: the QR code of a Chinese invoice (fapiao) and an EPC payment code.

A payload in which one part does not have its form is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

from hunyuanocr.fields.values.identifiers import IdentifierKind, is_valid
from hunyuanocr.types import Code

# 01, type, code, number, amount, date, check code, and on most types a checksum of unpublished form: 01,04,4200161350,00015045,…
_FAPIAO = re.compile(
    r"01,(?P<type>\d\d),(?P<code>\d{10}|\d{12})?,(?P<number>\d{8}|\d{20}),(?P<amount>-?\d{1,12}(?:\.\d{1,2})?),"
    r"(?P<date>\d{8}),(?P<check_code>\d{20}|\d{6})?(?:,[0-9A-Za-z]{0,8}){0,2},?",
    re.ASCII,
)
_SUBTOTAL_TYPES = ("01", "04", "08", "10")  # paper and electronic invoices: the amount is without tax
_TOTAL_TYPES = ("31", "32")  # fully digitalised invoices: the amount includes tax
_AMOUNT = re.compile(r"EUR(\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
_MAX_EPC_LENGTH = 331


def parse_payload(text: str) -> dict[str, Any] | None:
    """Return the meaning of a payload with its `kind`, "fapiao" or "epc_payment", or None. Amounts are plain decimals."""
    return _fapiao(text.strip()) or _epc_payment(text)


def _fapiao(text: str) -> dict[str, Any] | None:
    match = _FAPIAO.fullmatch(text)
    if match is None or (match["code"] is None) != (len(match["number"]) == 20):
        return None
    day = None
    with suppress(ValueError):
        day = date.fromisoformat(match["date"])
    if day is None:
        return None
    kind = match["type"]
    return {
        "kind": "fapiao",
        "type": kind,
        "code": match["code"],
        "number": match["number"],
        "amount": _two_decimals(match["amount"]),
        "tax_included": True if kind in _TOTAL_TYPES else False if kind in _SUBTOTAL_TYPES else None,
        "date": day.isoformat(),
        "check_code": match["check_code"],
    }


def _epc_payment(text: str) -> dict[str, Any] | None:
    """Source: European Payments Council, EPC069-12, "Quick Response Code: Guidelines to Enable Data Capture for SCT"."""
    if not text.startswith("BCD") or len(text) > _MAX_EPC_LENGTH:
        return None
    parts = [part.strip() for part in re.split(r"\r\n|\n|\r", text.rstrip())]
    if not 7 <= len(parts) <= 12:
        return None
    parts += [""] * (12 - len(parts))
    service, version, charset, identification, bic, name, iban, amount, purpose, reference, message, _ = parts
    euros = _AMOUNT.fullmatch(amount)
    well_formed = (
        (service, identification) == ("BCD", "SCT")
        and version in ("001", "002")
        and re.fullmatch("[1-8]", charset)
        and bool(name)
        and (_BIC.fullmatch(bic) if bic else version == "002")
        and is_valid(IdentifierKind.IBAN, iban)
        and (euros or not amount)
    )
    if not well_formed:
        return None
    return {
        "kind": "epc_payment",
        "name": name,
        "iban": re.sub(r"\s", "", iban).upper(),
        "bic": bic or None,
        "amount": _two_decimals(amount.removeprefix("EUR")) if amount else None,
        "currency": "EUR",
        "purpose": purpose or None,
        "reference": reference or message or None,
    }


def _two_decimals(amount: str) -> str:
    """Return 64.9 as 64.90."""
    whole, _, decimals = amount.partition(".")
    return f"{whole}.{decimals:0<2}"


def declared_by_codes(codes: Sequence[Code]) -> dict[str, str]:
    """Return the values that understood codes declare, by the fields of the catalogue; only those whose meaning is certain.

    If several codes of a kind differ, the document has several invoices, and those codes declare nothing.
    """
    declared: dict[str, str] = {}
    for kind in ("epc_payment", "fapiao"):
        meanings = [code.meaning for code in codes if code.meaning is not None and code.meaning["kind"] == kind]
        if meanings and all(meaning == meanings[0] for meaning in meanings):
            declared |= {name: value for name, value in _declared(meanings[0]) if value is not None}
    return declared


def _declared(meaning: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    if meaning["kind"] == "epc_payment":
        yield from (("iban", meaning["iban"]), ("bic", meaning["bic"]), ("total_amount", meaning["amount"]))
        return
    yield from (("invoice_code", meaning["code"]), ("invoice_number", meaning["number"]), ("date", meaning["date"]))
    if meaning["tax_included"] is not None:
        yield ("total_amount" if meaning["tax_included"] else "subtotal"), meaning["amount"]
