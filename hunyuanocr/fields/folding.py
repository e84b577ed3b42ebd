"""Fold words for comparison: letters without diacritics and case, because OCR often loses them; and their other spellings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SPECIAL = dict(zip("ßẞæÆœŒøØđĐðÐþÞłŁıİħĦªº", "ssaaooooddddttlliihhao", strict=True))
_LATIN = {
    code: base
    for code in (*range(0xAA, 0x250), *range(0x1E00, 0x1F00))
    if (base := _SPECIAL.get(chr(code)) or unicodedata.normalize("NFKD", chr(code))[0].lower()).isascii() and base.isalpha()
}
_GERMANIC = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "oe", "å": "aa"})
_NUMBER_SIGN = re.compile(r"\bn(?:\.\s?)?[°º]\.?(?=\W|$)", re.IGNORECASE)


def fold(text: str) -> str:
    """Return the text in lower case, Latin letters without diacritics: Ärztin → arztin. The length is unchanged."""
    return text.lower() if text.isascii() else "".join(_fold_letter(c) for c in text.translate(_LATIN))


def _fold_letter(c: str) -> str:
    lower = c.lower()
    return lower if len(lower) == 1 else c


def fold_key(text: str) -> str:
    """Return the folded letters and digits of the text: "Rückgeld:" → ruckgeld, "N° TVA" → ntva."""
    return "".join(filter(str.isalnum, fold(text if text.isascii() else unicodedata.normalize("NFKC", fold(text)))))


def spellings(word: str) -> Iterator[str]:
    """Yield the folded keys of a word as it may be printed: Rückgeld, Ruckgeld, Rueckgeld; N°, No, Nr."""
    signs = [_NUMBER_SIGN.sub(sign, word) for sign in ("n ", "no ", "nr ")] if _NUMBER_SIGN.search(word) else [word]
    for variant in signs:
        yield fold_key(variant)
        if (long := variant.lower().translate(_GERMANIC)) != variant.lower():
            yield fold_key(long)
