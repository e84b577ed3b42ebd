"""A span of a text, as returned by the finders of money, dates and numbers."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Characters `start` … `end` (exclusive) of a text."""

    start: int
    end: int
    text: str


def to_halfwidth(text: str) -> str:
    """Return full-width characters as ASCII. The length is unchanged, so that spans of the result are those of the text."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return text
    return "".join(n if len(n := unicodedata.normalize("NFKC", c)) == 1 else c for c in text)
