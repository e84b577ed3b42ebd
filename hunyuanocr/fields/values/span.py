"""A piece of a text: what the finders of money, dates, numbers give back."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Characters `start` … `end` (end excluded) of a text, and the text between."""

    start: int
    end: int
    text: str


def to_halfwidth(text: str) -> str:
    """Full-width letters, digits and signs as ASCII, length unchanged, so that spans in the result are spans in the original."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return text
    return "".join(n if len(n := unicodedata.normalize("NFKC", c)) == 1 else c for c in text)
