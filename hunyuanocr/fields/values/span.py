"""A span of a text, as returned by the finders of money, dates and numbers; and texts in a form that patterns can match."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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


def _plain_letters() -> Mapping[int, str]:
    """Return the Latin letters with diacritics, each with its plain letter in lower case."""
    table = {ord(c): plain for c, plain in zip("đĐłŁøØıİ", "ddlloo" + "ii", strict=True)}
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        first = unicodedata.normalize("NFKD", chr(code))[0].lower()
        if first.isascii() and first.isalpha():
            table.setdefault(code, first)
    return MappingProxyType(table)


_PLAIN_LETTERS = _plain_letters()


def fold(text: str) -> str:
    """Return the text in half-width lower case without diacritics: März → marz. The length is unchanged."""
    plain = to_halfwidth(text)
    if plain.isascii():
        return plain.lower()
    lower = plain.translate(_PLAIN_LETTERS).lower()
    return lower if len(lower) == len(plain) else "".join(c.lower() if len(c.lower()) == 1 else c for c in plain)
