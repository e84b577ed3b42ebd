"""What the value of a field cannot be, whatever the ranker says: a title is no merchant, a bank is no cashier."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hunyuanocr.fields.rules.merchant_patterns import FIRM, LEGAL_FORM, SHOP_KIND, TITLE
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.rules.trade_paper import is_trade_paper

_ISSUERS = ("merchant", "seller", "hospital")
_PERSONS = ("cashier", "patient", "doctor", "pharmacist", "tester", "courier")
_BANK = re.compile(r"银行|銀行|\bbank\b", re.IGNORECASE)
# Fields whose values have one form: they are recognised by it, and nothing else is one of them.
FORMS: Mapping[str, re.Pattern[str]] = {
    "gender": re.compile(r"(?<![^\s,，/])(?:男|女|Male|Female)(?![^\s,，/])"),
    "age": re.compile(r"(?<!\d)\d{1,3}\s?(?:岁|周岁|yrs?\b|years old)"),
    "email": re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "website": re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE),
    "id_number": re.compile(
        r"(?<![\dA-Za-z])[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])"
    ),
}
_REQUIRED = ("email", "website", "id_number")  # an age or a gender may be printed without its words


def is_plausible(page: PageAnalysis, field: str | None, value: str) -> bool:
    """Return whether a value without a label of the rules may be that of a field of the catalogue."""
    if field in _ISSUERS:
        return is_trade_paper(page, value) and not TITLE.search(value)
    if field in _PERSONS:
        return not any(pattern.search(value) for pattern in (FIRM, LEGAL_FORM, SHOP_KIND, _BANK))
    return field not in _REQUIRED or bool(FORMS[field].search(value))
