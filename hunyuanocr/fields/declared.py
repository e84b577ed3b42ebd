"""Values that a document declares in an embedded e-invoice or in a code, as a cross-check of the printed ones.

The print is answered. A declared value selects among the printed values; where it is not printed, the answer is doubtful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.field_builder import join_lines
from hunyuanocr.fields.grounding import find_occurrences
from hunyuanocr.fields.values.normalize import comparable, normalize
from hunyuanocr.types import Doubt, Field, FieldSpec, FieldType, Line

_CONFIRMED, _CONTRADICTED = 0.99, 0.5  # confidence of a printed value that is declared, or is declared differently
_SAME_AS = {"merchant": "seller"}  # names of the catalogue that e-invoices have under another name


@dataclass(frozen=True)
class Declared:
    """Declared values by field of the catalogue. `source` says in English where they stand."""

    source: str
    values: Mapping[str, str]


def check_declared(
    fields: Sequence[Field], specs: Sequence[FieldSpec], lines: Sequence[Line], declared: Declared
) -> tuple[Field, ...]:
    """Return the fields, those of declared values as the page prints these, or in doubt if it prints another value."""
    return tuple(
        _checked(field, declared.values.get(_SAME_AS.get(spec.name or "", spec.name or "")), declared.source, lines)
        for field, spec in zip(fields, specs, strict=True)
    )


def _checked(field: Field, declared: str | None, source: str, lines: Sequence[Line]) -> Field:
    if declared is None or field.rows is not None:
        return field
    if field.value is not None and _agrees(field.value, declared, field.type):
        return replace(field, confidence=_CONFIRMED, doubts=(), alternatives=())
    place = next(find_occurrences(declared, field.type, lines), None)
    if place is not None:
        value = join_lines([lines[n].text[start:end] for n, start, end in place.parts])
        return replace(
            Field(field.key, field.type, value, normalize(value, field.type), place.box(lines), place.page(lines)),
            confidence=_CONFIRMED,
            text_confidence=place.text_confidence(lines),
            grounded=True,
        )
    if field.value is None:
        return field
    message = f"The {source} declares another value: {declared[:80]}."
    doubts = (Doubt("embedded_data_differs", message), *field.doubts)
    return replace(field, confidence=min(field.confidence or 0.0, _CONTRADICTED), doubts=doubts)


def _agrees(value: str, declared: str, type: FieldType) -> bool:
    """Return whether both are the same amount, one of the readings of a date, or one text contains the other."""
    left, right = comparable(value, type), comparable(declared, type)
    if left == right or right in left.split("|"):
        return True
    names = type in (FieldType.NAME, FieldType.TEXT, FieldType.ADDRESS)
    return names and min(len(left), len(right)) >= 4 and (normalise_key(left) in right or right in normalise_key(left))
