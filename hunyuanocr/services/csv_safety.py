"""Values as cells of a CSV file that people open in a spreadsheet."""

from __future__ import annotations

import json
import re
from typing import Any

_FORMULA = ("=", "@", "\t", "\r", "\n", "+", "-", "＝", "＠", "＋", "－")  # Chinese and Japanese Excel takes the wide ones too
_NUMBER = re.compile(r"[+-]?[¥￥$€£]? ?\d[\d., ]* ?[%¥￥$€£]?", re.ASCII)  # one; of +86-21-5555 a spreadsheet makes a difference


def to_text(value: Any) -> str:
    """A value as text: '' for none, JSON for lists."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def escape_cell(value: Any) -> str:
    """The value's text. What a spreadsheet would compute is defused by an apostrophe before it: the words come from a picture,
    which anybody may have made (OWASP, "CSV Injection").
    """
    text = to_text(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text
