"""The known fields: what people call them in Chinese and English, what stands before them on paper, and their types.

The words themselves are in `catalogue.toml`, which says what its columns mean. They serve twice: `lookup` finds the field
a person asks for, and `labels` finds it on a page.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from hunyuanocr.types import FieldType


@dataclass(frozen=True)
class KnownField:
    """One field: its canonical name, its type and its words (see `catalogue.toml`)."""

    name: str
    type: FieldType
    zh: tuple[str, ...]
    en: tuple[str, ...]
    labels: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    @property
    def printed_labels(self) -> tuple[str, ...]:
        """Words that stand before the value on paper."""
        return (*self.zh, *self.en, *self.labels)


def _load() -> dict[str, KnownField]:
    table = tomllib.loads(files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8"))
    return {
        name: KnownField(name, FieldType(row.pop("type")), **{key: tuple(words) for key, words in row.items()})
        for name, row in table.items()
    }


KNOWN: Mapping[str, KnownField] = MappingProxyType(_load())

# What each kind of document carries, in the order in which people ask for it.
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


def normalise_key(text: str) -> str:
    """Text without what does not tell words apart: NFKC, lower case, letters and digits only ("Sub-Total：" → "subtotal")."""
    return "".join(filter(str.isalnum, (text if text.isascii() else unicodedata.normalize("NFKC", text)).lower()))


def _singular(key: str) -> str:
    return key[:-1] if key.isascii() and len(key) > 3 and key.endswith("s") else key


def _index(fields: Iterable[KnownField]) -> dict[str, KnownField]:
    """Every word to its field. Names win over printed labels, and earlier fields over later ones where two share a word."""
    index: dict[str, KnownField] = {}
    ordered = tuple(fields)
    for words in (lambda f: (f.name,), lambda f: f.zh[:1] + f.en[:1], lambda f: f.zh + f.en + f.asked, lambda f: f.labels):
        for f in ordered:
            for word in words(f):
                index.setdefault(normalise_key(word), f)
    for key in tuple(index):
        index.setdefault(_singular(key), index[key])
    return index


_IN_BRACKETS = re.compile(r"[(（][^()（）]*[)）]")  # a unit or a note: total (RM), 金额（元）
_INDEX = _index(KNOWN.values())


def lookup(words: str) -> KnownField | None:
    """The known field that these words name, in Chinese or English, or None; case, spaces, underscores, plural do not matter."""
    key = normalise_key(words)
    for candidate in (
        key,
        normalise_key(_IN_BRACKETS.sub("", words)),
        _singular(key),
        key.removeprefix("the"),
        key.removesuffix("es"),
    ):
        if candidate in _INDEX:
            return _INDEX[candidate]
    return None
