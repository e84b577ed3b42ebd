"""What makes a part of a page a document of its own: an issuer at its head, a date, a labelled total, a number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rapidfuzz import fuzz

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.rules.document_date import choose_date
from hunyuanocr.fields.rules.label_words import page_languages
from hunyuanocr.fields.rules.labels import CURRENCY_WORDS, LabelFinder
from hunyuanocr.fields.rules.merchant import choose_merchant
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.types import FieldType, Line

_MIN_TOTAL = 0.45  # score of a labelled total
_SAME_NAME = 85.0  # per cent of equal letters
_NUMBERS = ("invoice_number", "receipt_number", "order_number")
_PAGE_NUMBER = re.compile(
    r"\b(?:page|seite|p[aá]gina|pagina|strona|sayfa|trang|halaman)\s{0,2}:?\s{0,2}(?P<a>\d{1,3})\s{0,2}(?:of|/|von|de|di|van|z|sur)\s{0,2}\d{1,3}\b"
    r"|第\s?(?P<b>\d{1,3})\s?[页頁]|^\s{0,3}(?P<c>\d{1,2})\s?/\s?\d{1,2}\s{0,3}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Identity:
    """The values that tell a document from others, comparable, or None where it prints none."""

    merchant: str | None
    date: str | None
    total: str | None
    number: str | None

    @property
    def is_document(self) -> bool:
        """Whether the part can stand alone: it has a labelled total, and an issuer, a date or a number."""
        return self.total is not None and self.marks > 0

    @property
    def marks(self) -> int:
        """How many of issuer, date and number it has."""
        return sum(value is not None for value in (self.merchant, self.date, self.number))

    def is_same(self, other: Identity) -> bool:
        """Return whether both are the same purchase: a receipt and its copy, or the card slip below it."""
        if self.number is not None and other.number is not None:
            return self.number == other.number
        return self.total == other.total and self.date in (other.date, None) and same_name(self.merchant, other.merchant)


def same_name(one: str | None, other: str | None) -> bool:
    """Return whether two names are equal but for misread letters; an absent one equals any."""
    return one is None or other is None or fuzz.ratio(one, other) >= _SAME_NAME


@lru_cache(maxsize=64)
def identify(lines: tuple[Line, ...]) -> Identity:
    """Return the identity of a part of a page, or of pages."""
    page = PageAnalysis(lines, ())
    name, date = choose_merchant(page), choose_date(page)
    total = page.best("total_amount", _MIN_TOTAL)
    if total is not None and _has_unit(page, total.cell):
        total = None
    numbers = (link for field in _NUMBERS if (link := page.best(field, 0.6)) is not None)
    number = next(numbers, None)
    return Identity(
        merchant=normalise_key(" ".join(c.text for c in name.segments)) if name else None,
        date=comparable(date[0].text, FieldType.DATE) if date else None,
        total=comparable(total.cell.text, FieldType.MONEY) if total else None,
        number=normalise_key(number.cell.text) if number else None,
    )


def _has_unit(page: PageAnalysis, cell: TextSegment) -> bool:
    """Return whether a word follows a number: Total weight: 120 kg."""
    after = CURRENCY_WORDS.sub("", page.lines[cell.line].text[cell.end :]).strip()
    return after[:1].isalpha()


def lines_with_total(lines: Sequence[Line]) -> list[int]:
    """Return the indices of lines with a label of the total. Faster than `identify`."""
    labels = LabelFinder((), page_languages(line.text for line in lines)).find(Layout(lines))
    return [label.cell.line for label in labels if "total_amount" in label.fields]


def page_number(lines: Sequence[Line]) -> int | None:
    """Return the number that a page prints in its head or foot: 2 for "Page 2 of 3"."""
    for line in (*lines[:6], *lines[-6:]):
        if match := _PAGE_NUMBER.search(line.text):
            return int(next(number for number in match.groups() if number))
    return None
