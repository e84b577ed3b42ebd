"""Words of generated pages: labels of the catalogue in the languages of the trade, and the words of `words.toml`."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from hunyuanocr.fields.catalogue import KNOWN, LANGUAGES, labels_of
from hunyuanocr.types import FieldType

Words = Sequence[str]

_DATA: Mapping[str, Any] = tomllib.loads(files(__package__).joinpath("words.toml").read_text(encoding="utf-8"))
WEIGHTS: Mapping[str, float] = {language: _DATA["weights"][language] for language in ("en", "zh", *LANGUAGES)}
CHINESE = ("zh", "zh-Hant")
EAST_ASIAN = (*CHINESE, "ja", "ko")
FIELDS = tuple(name for name, field in KNOWN.items() if field.type is not FieldType.ROWS)

_INVENTED: Mapping[str, Words] = _DATA["invented"]
_NOUNS: Mapping[str, Words] = _DATA["nouns"]
_CHOICES: Mapping[str, Words] = {**_DATA["choices"], **_DATA["values"]}
HAN = _INVENTED["zh"]
VALUES: frozenset[str] = frozenset(_DATA["values"])  # fields with choices of their own
FIRST_NAMES: Words = _DATA["first_names"]
LAST_NAMES: Words = _DATA["last_names"]
GOODS: Words = _DATA["goods"]
FAREWELLS: Words = _DATA["farewells"]
FIRMS: Mapping[str, Words] = _DATA["firms"]
TITLES: Mapping[str, Words] = _DATA["titles"]
COLUMNS: Mapping[str, Sequence[Words]] = _DATA["columns"]
RESULT_COLUMNS: Sequence[Words] = _DATA["result_columns"]
CURRENCIES: Mapping[str, Words] = _DATA["currencies"]
CURRENCY_SUFFIXES: Words = _DATA["currency_suffixes"]
MONTHS: Mapping[str, Words] = _DATA["months"]
DATES: Mapping[str, Words] = _DATA["dates"]
QUESTIONS: Mapping[str, Any] = _DATA["questions"]

_DIGITS, _LETTERS = "0123456789", "ABCDEFGHKLMNPRSTVXYZ"
_SLOT = re.compile(r"[_^]|\{(\w+)\}")


def drawn(rng: random.Random, name: str) -> str:
    """Return one of the choices of this name in `words.toml`, with its slots replaced. Raises KeyError for an unknown name."""
    return filled(rng, rng.choice(_CHOICES[name]))


def filled(rng: random.Random, pattern: str) -> str:
    """Return a pattern with its slots replaced; `words.toml` describes them. Raises KeyError for an unknown slot."""
    return _SLOT.sub(lambda slot: _slot(rng, slot[0], slot[1]), pattern)


def _slot(rng: random.Random, mark: str, name: str | None) -> str:
    if name is None:
        return rng.choice(_DIGITS if mark == "_" else _LETTERS)
    if name.isdigit():
        return str(rng.randint(1, int(name)))
    if name == "han":
        return rng.choice(HAN)
    if name.lower() != "word":
        return rng.choice(_CHOICES[name])
    word = invented(rng, "en")
    return word if name.islower() else word.upper() if name.isupper() else word.title()


def label(rng: random.Random, field: str, language: str) -> str:
    """Return a printed label of the field, the usual ones more often; in English if the language has none."""
    words = labels_of(language).get(field) or labels_of("en")[field] or (field.replace("_", " "),)
    if rng.random() < 0.75:
        return words[min(int(rng.expovariate(0.35)), len(words) - 1)]
    return rng.choice(words)


def invented(rng: random.Random, language: str) -> str:
    """Return a word without meaning, in the script of the language."""
    if language in CHINESE:
        return "".join(rng.choices(HAN, k=rng.randint(2, 4)))
    if language in _INVENTED:
        return "".join(rng.choices(_INVENTED[language], k=rng.randint(2, 6)))
    return "".join(rng.choices(_INVENTED["latin"], k=rng.randint(2, 4)))


def noun(rng: random.Random, language: str) -> str:
    """Return a noun of the language, or an invented word where there is no list."""
    return rng.choice(_NOUNS[language]) if language in _NOUNS else invented(rng, language)


def other_label(rng: random.Random, language: str) -> str:
    """Return a label that is not in the catalogue."""
    if language in EAST_ASIAN or language == "th":
        ended = language in CHINESE and rng.random() < 0.4
        return invented(rng, language) + (drawn(rng, "label_end_zh") if ended else "")
    words = [noun(rng, language) for _ in range(rng.choices([1, 2, 3], [3, 5, 1])[0])]
    if language == "en" and rng.random() < 0.25:
        words.append(drawn(rng, "label_end_en"))
    return " ".join(words)


def near_label(rng: random.Random, words: str, language: str) -> str:
    """Return another label that shares a part with this one."""
    if not words.isascii() and " " not in words:
        kept = min(len(words) - 1, rng.choice([1, 2, 2]))
        return invented(rng, "zh") + words[-kept:] if kept > 0 else words + rng.choice(HAN)
    parts = words.split()
    other = noun(rng, language)
    if len(parts) > 1:
        parts[rng.choice([0, 0, -1])] = other
        return " ".join(parts)
    return f"{other} {parts[0]}" if parts and rng.random() < 0.4 else other


def cased(text: str, mode: int) -> str:
    """Return the text as printed: 1 capitals, 2 each word, 3 the first letter, else unchanged."""
    if mode == 1:
        return text.upper()
    if mode == 2:
        return text.title()
    return text.capitalize() if mode == 3 else text
