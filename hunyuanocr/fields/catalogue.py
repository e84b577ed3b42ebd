"""The known fields: their names, their printed labels, and their types.

The words in Chinese and English are in `catalogue.toml`, which documents its columns; those of other languages are in `labels/`,
one file per language. `lookup` uses them to find the field that a client requests, and `rules.labels` to find it on a page.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from rapidfuzz import fuzz, process

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.folding import fold_key, spellings
from hunyuanocr.types import FieldType


@dataclass(frozen=True)
class KnownField:
    """A field: its canonical name, its type and its words (see `catalogue.toml`)."""

    name: str
    type: FieldType
    zh: tuple[str, ...]
    en: tuple[str, ...]
    labels: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def printed_labels(self) -> tuple[str, ...]:
        """Words that precede the value on a page."""
        return (*self.zh, *self.en, *self.labels)


def _load() -> dict[str, KnownField]:
    return {
        name: KnownField(name, FieldType(row.pop("type")), **{key: tuple(words) for key, words in row.items()})
        for name, row in _read("catalogue.toml").items()
    }


def _read(path: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(path).read_text(encoding="utf-8"))


KNOWN: Mapping[str, KnownField] = MappingProxyType(_load())

# Languages whose words are in labels/; Malay words are with the Indonesian ones.
LANGUAGES = ("zh-Hant", "ja", "ko", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "id", "th")

# The fields of each kind of document, in order of demand.
DOCUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "receipt": (
            "merchant",
            "date",
            "time",
            "items",
            "subtotal",
            "tax_amount",
            "discount",
            "total_amount",
            "paid_amount",
            "change",
            "payment_method",
            "receipt_number",
            "cashier",
            "address",
            "phone",
        ),
        "invoice": (
            "invoice_number",
            "date",
            "due_date",
            "seller",
            "buyer",
            "tax_number",
            "items",
            "subtotal",
            "tax_amount",
            "total_amount",
        ),
        "prescription": (
            "hospital",
            "patient",
            "gender",
            "age",
            "department",
            "date",
            "diagnosis",
            "items",
            "doctor",
            "prescription_number",
            "total_amount",
        ),
        "lab_report": (
            "hospital",
            "patient",
            "gender",
            "age",
            "specimen",
            "specimen_number",
            "items",
            "report_date",
            "tester",
        ),
        "parcel": (
            "tracking_number",
            "sender",
            "sender_phone",
            "sender_address",
            "recipient",
            "recipient_phone",
            "recipient_address",
            "weight",
        ),
        "card": ("name", "gender", "birth_date", "nationality", "id_number", "address", "issue_date", "expiry_date"),
    }
)


@lru_cache
def labels_of(language: str) -> Mapping[str, tuple[str, ...]]:
    """Return the words of each field in a language, the most usual first: printed labels, also used to request the field.

    `language` is en, zh or one of `LANGUAGES`. Raises KeyError for another one.
    """
    if language in ("en", "zh"):
        words = {name: _words_in(field, ascii=language == "en") for name, field in KNOWN.items()}
    elif language in LANGUAGES:
        words = {name: tuple(printed) for name, printed in _read(f"labels/{language}.toml").items()}
    else:
        raise KeyError(language)
    return MappingProxyType(words)


def _words_in(field: KnownField, *, ascii: bool) -> tuple[str, ...]:
    words = (*(field.en if ascii else field.zh), *(word for word in field.labels if word.isascii() is ascii))
    return tuple(dict.fromkeys(words))


def normalise_key(text: str) -> str:
    """Return the text for comparison: NFKC, lower case, letters and digits only ("Sub-Total：" → "subtotal")."""
    return "".join(filter(str.isalnum, (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()))


def _singular(key: str) -> str:
    return key[:-1] if key.isascii() and len(key) > 3 and key.endswith("s") else key


_ONLY_PRINTED = ("ph",)  # a phone number where it is printed; a client means the pH value


def _index(fields: Iterable[KnownField]) -> dict[str, KnownField]:
    """Map every word to its field. Names precede printed labels, and earlier fields precede later ones."""
    index: dict[str, KnownField] = {}
    ordered = tuple(fields)
    for words in (lambda f: (f.name,), lambda f: f.zh[:1] + f.en[:1], lambda f: f.zh + f.en + f.asked, lambda f: f.labels):
        for f in ordered:
            for word in words(f):
                if word in _ONLY_PRINTED:
                    continue
                index.setdefault(normalise_key(word), f)
    for key in tuple(index):
        index.setdefault(_singular(key), index[key])
    return index


_IN_BRACKETS = re.compile(r"[(（][^()（）]*[)）]")  # a unit or a note: total (RM), 金额（元）
_INDEX = _index(KNOWN.values())
_MAX_WORDS = 60  # letters; a longer text is no name of a field


# English words that clients use in instructions, but not for the field that they are in another language (data: a date).
_NO_FIELD = frozenset(
    [
        "data", "not", "note", "top", "base", "pin", "bed", "bar", "port", "charge", "position", "unit", "form", "text", "mobile",
        "code", "page", "articles", "lot", "site", "carte", "dose", "ore", "del", "solde", "retour", "terms", "result", "contact",
        "ticket", "poli", "kom", "norm", "probe", "handler", "cad", "val", "sig", "die", "per", "via",
    ]
)  # fmt: skip
_SHORT = 4  # letters; without its diacritics such a word may be an English one: Thẻ (a card), the
_MEANING_TOTAL = ("total", "total amount", "合计", "总计", "总金额", "总额", "合计金额")


@lru_cache(maxsize=1)
def _other_languages() -> Mapping[str, KnownField]:
    """Map every word of the other languages to its field; the more usual meaning of a word precedes."""
    ranked = [
        (rank, name, word)
        for language in LANGUAGES
        for name, printed in labels_of(language).items()
        for rank, word in enumerate(printed)
    ]
    index: dict[str, KnownField] = {}
    for _, name, word in sorted(ranked, key=lambda found: found[0]):
        short = not word.isascii() and len(fold_key(word)) <= _SHORT and fold_key(word).isascii()
        for key in (normalise_key(word),) if short else spellings(word):
            if key not in _NO_FIELD and (len(key) > 2 or not key.isascii()):
                index.setdefault(key, KNOWN[name])
    return index


@lru_cache(maxsize=1)
def _generic_words() -> frozenset[str]:
    """Return the words that denote a field, whatever label is printed: canonical names, and each language's usual word."""
    usual = [printed[0] for language in LANGUAGES for printed in labels_of(language).values()]
    for field in KNOWN.values():
        usual += [field.name, *field.asked, *(() if field.name == "total_amount" else (*field.zh[:1], *field.en[:1]))]
    return frozenset(fold_key(word) for word in (*usual, *_MEANING_TOTAL))


def is_generic(words: str) -> bool:
    """Return whether a client's words denote the field as such, not one of its labels: "total", not "balance due"."""
    return fold_key(words) in _generic_words()


@lru_cache(maxsize=1024)  # one instruction asks for the same words many times
def lookup(words: str) -> KnownField | None:
    """Return the known field of these words in any language, or None.

    Ignores case, spaces, underscores, plural, and whether characters are traditional or simplified. English and Chinese words
    have priority. Diacritics may be missing (Ruckgeld) or written out (Rueckgeld).
    """
    simplified, plain = to_simplified(words), _IN_BRACKETS.sub("", words)
    key = normalise_key(simplified)
    for candidate in (
        key,
        normalise_key(_IN_BRACKETS.sub("", simplified)),
        _singular(key),
        key.removeprefix("the"),
        key.removesuffix("es"),
    ):
        if candidate in _INDEX:
            return _INDEX[candidate]
    if not key or len(words) > _MAX_WORDS:
        return None
    others = _other_languages()
    return others.get(fold_key(words)) or others.get(fold_key(plain)) or others.get(key)


_MIN_SIMILARITY = {True: 75.0, False: 60.0}  # per cent of equal letters, of Latin and other names: one letter in four, 总额金
_MISSPELT = 80.0  # per cent of equal letters above which a name is probably a misspelt one
_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {normalise_key(word): f.name for f in reversed(tuple(KNOWN.values())) for word in (f.name, *f.zh, *f.en, *f.asked)}
)
_USUAL = ("total_amount", "date", "merchant", "items", "invoice_number")  # suggested if no name is similar


def is_misspelt(words: str) -> bool:
    """Return whether words are spelt nearly like those of a known field."""
    key = normalise_key(to_simplified(words))
    return process.extractOne(key, _SPELLINGS.keys(), scorer=fuzz.ratio, score_cutoff=_MISSPELT) is not None


def suggest(words: str, limit: int = 3) -> tuple[str, ...]:
    """Return the names of known fields whose words are spelt like these, the most similar first; else the usual fields."""
    key = normalise_key(to_simplified(words))
    found = process.extract(
        key, _SPELLINGS.keys(), scorer=fuzz.ratio, score_cutoff=_MIN_SIMILARITY[key.isascii()], limit=4 * limit
    )
    similar = dict.fromkeys(_SPELLINGS[spelling] for spelling, score, _ in found if score >= found[0][1] - 15)
    return tuple(similar)[:limit] or _USUAL
