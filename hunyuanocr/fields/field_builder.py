"""Fields out of places: typed, normalised, boxed, with the reader's own confidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hunyuanocr.fields.grounding import Occurrence, find_occurrences
from hunyuanocr.fields.layout import TextSegment, union_box
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.types import Field, FieldSpec, FieldType, Line

FREE_TEXT_TYPES = (FieldType.TEXT, FieldType.NAME, FieldType.ADDRESS)  # types whose values may be long
_SURE = 0.6  # a reader's line that is less sure is as often wrong as right
# What the columns of line items hold.
COLUMN_TYPES: Mapping[str, FieldType] = {
    "name": FieldType.NAME, "quantity": FieldType.QUANTITY, "unit_price": FieldType.MONEY, "amount": FieldType.MONEY,
    "specification": FieldType.TEXT, "unit": FieldType.TEXT, "usage": FieldType.TEXT, "result": FieldType.TEXT,
    "reference": FieldType.TEXT,
}  # fmt: skip


def join_lines(texts: Sequence[str]) -> str:
    """Lines of one value as one text: with a space between words, with none between Chinese characters."""
    value = ""
    for text in texts:
        chinese = value and text and ord(value[-1]) > 0x2E80 and ord(text[0]) > 0x2E80
        value += text if not value or chinese else f" {text}"
    return value


def field_from_segments(key: str, type: FieldType, segments: Sequence[TextSegment], lines: Sequence[Line]) -> Field:
    """The field whose value fills these cells. It is no proof of a value where the reader itself was unsure of a line."""
    place = Occurrence(tuple((c.line, c.start, c.end) for c in segments))
    value, confidence = join_lines([c.text for c in segments]), place.confidence(lines)
    sure = confidence is None or confidence >= _SURE
    return Field(key, type, value, normalize(value, type), place.box(lines), place.page(lines), confidence, grounded=sure)


def cell_key(key: str, row: int, column: str) -> str:
    """The key of a cell's confidence among those of a language model's values; the cell of a bare word has column 'name'."""
    return f"{key}/{row}/{column}"


def field_from_value(
    key: str, type: FieldType, value: Any, *, lines: Sequence[Line], confidence: float | None, near: Occurrence | None = None
) -> Field:
    """A language model's value, grounded where it stands; at the place nearest to `near` where it stands more than once."""
    if value is None or not str(value).strip():
        return Field(key, type, confidence=confidence)
    if isinstance(value, (bool, Mapping, list)) or (isinstance(value, (int, float)) and type in FREE_TEXT_TYPES):
        return _from_raw(key, type, value, lines, confidence)
    text = str(value).strip()
    found = list(find_occurrences(text, type, lines))
    if near is not None and found:
        beside = {n for n, _, _ in near.parts}
        found.sort(key=lambda p: min(abs(n - m) for n, _, _ in p.parts for m in beside))
    if not found:
        return Field(key, type, text, normalize(text, type), confidence=confidence)
    place = found[0]
    return Field(key, type, text, normalize(text, type), place.box(lines), place.page(lines), confidence, grounded=True)


def _from_raw(key: str, type: FieldType, value: Any, lines: Sequence[Line], confidence: float | None) -> Field:
    """What was written by the client's own part of a schema: kept as it is, grounded where every word and number in it stands.

    True and false are never printed, so they are never proved.
    """
    printed = _printed_in(value)
    words = [str(w) for w in printed]
    found = [_stands(w, lines) for w in printed]
    stand = [p for p in found if p is not None]
    pages = {p.page(lines) for p in stand}
    whole = bool(stand) and len(stand) == len(words)
    box = union_box([p.box(lines) for p in stand]) if whole and len(pages) == 1 else None
    text = " ".join(words) or json.dumps(value, ensure_ascii=False)
    return Field(key, type, text, value, box, min(pages) if whole else None, confidence, grounded=whole)


def _stands(printed: Any, lines: Sequence[Line]) -> Occurrence | None:
    """The first place of a word, or of a number, which may be printed with further zeros."""
    types = (FieldType.TEXT,) if isinstance(printed, str) else (FieldType.TEXT, FieldType.MONEY)
    return next((place for type in types for place in find_occurrences(str(printed), type, lines)), None)


def _printed_in(value: Any) -> list[Any]:
    """Words and numbers in a value, in their order."""
    if isinstance(value, Mapping):
        return [w for part in value.values() for w in _printed_in(part)]
    if isinstance(value, list):
        return [w for part in value for w in _printed_in(part)]
    return [] if value is None or isinstance(value, bool) or not str(value).strip() else [value]


def rows_field(spec: FieldSpec, rows: Sequence[Mapping[str, Field]]) -> Field:
    """Line items as one field; it is grounded where every cell of every row is."""
    cells = [cell for row in rows for cell in row.values()]
    scores = [c.confidence for c in cells if c.confidence is not None]
    return Field(
        spec.key, FieldType.ROWS, rows=tuple(rows) or None, page=cells[0].page if cells else None,
        confidence=min(scores) if scores and len(scores) == len(cells) else None,
        grounded=bool(cells) and all(c.grounded for c in cells),
    )  # fmt: skip
