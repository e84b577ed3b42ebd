"""Build fields from their positions: typed, normalised, with box and confidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hunyuanocr.fields.grounding import Occurrence, find_occurrences
from hunyuanocr.fields.layout import TextSegment, union_box
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.fields.values.style import PLAIN, PageStyle
from hunyuanocr.types import Field, FieldSpec, FieldType, Line

FREE_TEXT_TYPES = (FieldType.TEXT, FieldType.NAME, FieldType.ADDRESS)  # types whose values may be long
_MIN_CONFIDENCE = 0.6  # of a line; below it a text is as often wrong as right
# The types of the columns of line items.
COLUMN_TYPES: Mapping[str, FieldType] = {
    "name": FieldType.NAME, "quantity": FieldType.QUANTITY, "unit_price": FieldType.MONEY, "amount": FieldType.MONEY,
    "specification": FieldType.TEXT, "unit": FieldType.TEXT, "usage": FieldType.TEXT, "result": FieldType.TEXT,
    "reference": FieldType.TEXT,
}  # fmt: skip


def join_lines(texts: Sequence[str]) -> str:
    """Join the lines of one value, with a space between words and none between Chinese characters."""
    value = ""
    for text in texts:
        chinese = value and text and ord(value[-1]) > 0x2E80 and ord(text[0]) > 0x2E80
        value += text if not value or chinese else f" {text}"
    return value


def field_from_segments(
    key: str, type: FieldType, segments: Sequence[TextSegment], lines: Sequence[Line], style: PageStyle = PLAIN
) -> Field:
    """Return the field whose value is these segments. It is not grounded if the confidence of a line is low."""
    occurrence = Occurrence(tuple((c.line, c.start, c.end) for c in segments))
    value, confidence = join_lines([c.text for c in segments]), occurrence.confidence(lines)
    grounded = confidence is None or confidence >= _MIN_CONFIDENCE
    normal, box, page = normalize(value, type, style), occurrence.box(lines), occurrence.page(lines)
    letters = occurrence.text_confidence(lines)
    return Field(key, type, value, normal, box, page, confidence, grounded=grounded, text_confidence=letters)


def cell_key(key: str, row: int, column: str) -> str:
    """Return the key of a cell's confidence in a Reading; a row that is a single string has the column 'name'."""
    return f"{key}/{row}/{column}"


def field_from_value(
    key: str,
    type: FieldType,
    value: Any,
    *,
    lines: Sequence[Line],
    confidence: float | None,
    near: Occurrence | None = None,
    style: PageStyle = PLAIN,
) -> Field:
    """Return the field of a language model's value, grounded on the page; of several occurrences, the nearest to `near`."""
    if value is None or not str(value).strip():
        return Field(key, type, confidence=confidence)
    if isinstance(value, (bool, Mapping, list)) or (isinstance(value, (int, float)) and type in FREE_TEXT_TYPES):
        return _from_raw(key, type, value, lines, confidence)
    text = str(value).strip()
    occurrences = list(find_occurrences(text, type, lines, style))
    if near is not None and occurrences:
        near_lines = {n for n, _, _ in near.parts}
        occurrences.sort(key=lambda o: min(abs(n - m) for n, _, _ in o.parts for m in near_lines))
    if not occurrences:
        return Field(key, type, text, normalize(text, type, style), confidence=confidence, text_confidence=confidence)
    first = occurrences[0]
    box, page = first.box(lines), first.page(lines)
    normal = normalize(text, type, style)
    return Field(key, type, text, normal, box, page, confidence, grounded=True, text_confidence=confidence)


def _from_raw(key: str, type: FieldType, value: Any, lines: Sequence[Line], confidence: float | None) -> Field:
    """Return the field of a value that has the form of the client's schema, grounded if every string and number is found.

    Booleans are not printed, so they are not grounded.
    """
    scalars = _scalars(value)
    words = [str(w) for w in scalars]
    occurrences = [o for w in scalars if (o := _first_occurrence(w, lines)) is not None]
    pages = {o.page(lines) for o in occurrences}
    complete = bool(occurrences) and len(occurrences) == len(words)
    box = union_box([o.box(lines) for o in occurrences]) if complete and len(pages) == 1 else None
    text = " ".join(words) or json.dumps(value, ensure_ascii=False)
    return Field(key, type, text, value, box, min(pages) if complete else None, confidence, grounded=complete)


def _first_occurrence(scalar: Any, lines: Sequence[Line]) -> Occurrence | None:
    """Return the first occurrence of a string, or of a number, which may be printed with more zeros."""
    types = (FieldType.TEXT,) if isinstance(scalar, str) else (FieldType.TEXT, FieldType.MONEY)
    return next((occurrence for type in types for occurrence in find_occurrences(str(scalar), type, lines)), None)


def _scalars(value: Any) -> list[Any]:
    """Return the strings and numbers of a value, in order."""
    if isinstance(value, Mapping):
        return [w for part in value.values() for w in _scalars(part)]
    if isinstance(value, list):
        return [w for part in value for w in _scalars(part)]
    return [] if value is None or isinstance(value, bool) or not str(value).strip() else [value]


def rows_field(spec: FieldSpec, rows: Sequence[Mapping[str, Field]]) -> Field:
    """Return line items as one field, which is grounded if every cell of every row is."""
    cells = [cell for row in rows for cell in row.values()]
    scores = [c.confidence for c in cells if c.confidence is not None]
    return Field(
        spec.key,
        FieldType.ROWS,
        rows=tuple(rows) or None,
        page=cells[0].page if cells else None,
        confidence=min(scores) if scores and len(scores) == len(cells) else None,
        grounded=bool(cells) and all(c.grounded for c in cells),
    )
