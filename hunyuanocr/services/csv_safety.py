"""Values as cells of CSV files that are opened in a spreadsheet program."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from typing import Any

_FORMULA = ("=", "@", "\t", "\r", "\n", "+", "-", "＝", "＠", "＋", "－")  # full-width: Chinese and Japanese Excel
_NUMBER = re.compile(r"[+-]?[¥￥$€£]? ?\d[\d., ]* ?[%¥￥$€£]?", re.ASCII)  # one number; +86-21-5555 would be computed
# Numbers that would be changed: leading zeros are dropped, 12 digits are shown as 1.2E+11, of more than 15 the last become zero.
_IDENTIFIER = re.compile(r"[+-]?(?:0\d+|\d{12,}|\d+[eE][+-]?\d+)", re.ASCII)


def to_text(value: Any) -> str:
    """Return a value as text: '' for None, JSON for lists and objects."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape_cell(value: Any) -> str:
    """Return the value as text; a leading apostrophe keeps it text where a spreadsheet would compute or change it.

    Formulas, because text of an image is untrusted (OWASP, "CSV Injection"), and identifiers such as tax numbers.
    """
    text = to_text(value)
    formula = text.startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if formula or _IDENTIFIER.fullmatch(text) else text


def csv_row(values: Iterable[Any]) -> str:
    """Return a row with its line end (RFC 4180). All cells are quoted: in some regions a spreadsheet also splits at ';'."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([escape_cell(value) for value in values])
    return out.getvalue()
