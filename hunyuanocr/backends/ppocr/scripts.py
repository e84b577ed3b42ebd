"""The scripts that a recogniser reads."""

from __future__ import annotations

from collections.abc import Collection

PPOCR_V6 = ("Latin", "Han", "Hiragana", "Katakana")
_LETTERS = {  # that a recogniser of the script knows; PP-OCRv6 has the Greek letters of formulas, without accents
    "Latin": "aZé", "Han": "的国", "Hiragana": "あの", "Katakana": "アン", "Cyrillic": "Жя", "Greek": "άώ", "Arabic": "عم",
    "Hebrew": "אש", "Thai": "กม", "Devanagari": "कम", "Hangul": "가한",
}  # fmt: skip


def known_scripts(characters: Collection[str]) -> tuple[str, ...]:
    """Return the scripts that a recogniser with these characters reads."""
    return tuple(script for script, letters in _LETTERS.items() if all(c in characters for c in letters))
