"""Values as cells of CSV files that are opened in a spreadsheet program."""

from __future__ import annotations

import json
import re
from typing import Any

_FORMULA = ("=", "@", "\t", "\r", "\n", "+", "-", "＝", "＠", "＋", "－")  # full-width: Chinese and Japanese Excel
_NUMBER = re.compile(r"[+-]?[¥￥$€£]? ?\d[\d., ]* ?[%¥￥$€£]?", re.ASCII)  # one number; +86-21-5555 would be computed


def to_text(value: Any) -> str:
    """Return a value as text: '' for None, JSON for lists and objects."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape_cell(value: Any) -> str:
    """Return the value as text; a leading apostrophe disables formulas, because text of an image is untrusted.

    Source: OWASP, "CSV Injection".
    """
    text = to_text(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
