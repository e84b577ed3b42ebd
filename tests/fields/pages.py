"""Pages for tests, written as they look: rows of (column, text), with boxes as a reader would give them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hunyuanocr.fields import extract_fields
from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.layout import relative_char_width
from hunyuanocr.types import Field, FieldSpec, FieldType, Line

Text = str | tuple[float, str] | tuple[float, str, float]


def page(rows: Sequence[Any], *, skew: float = 0.0, em: float = 30.0, number: int = 0) -> list[Line]:
    """Lines of a page: a row is a text or (x, text[, scale]) pieces; `x` in letters. `skew` turns it, in degrees."""
    lines = []
    for n, row in enumerate(rows):
        for piece in [row] if isinstance(row, str) else row:
            x, text, scale = (
                piece
                if isinstance(piece, tuple) and len(piece) == 3
                else (*piece, 1.0)
                if isinstance(piece, tuple)
                else (0.0, piece, 1.0)
            )
            width, height = sum(map(relative_char_width, text)) * em * scale, em * 1.25 * scale
            left, top = 40 + x * em, 60 + n * em * 1.7 - height / 2
            corners = ((left, top), (left + width, top), (left + width, top + height), (left, top + height))
            a, b, c, d = (_turned(p, skew) for p in corners)
            lines.append(Line(text, (a, b, c, d), 0.98, number))
    return lines


def _turned(point: tuple[float, float], degrees: float) -> tuple[float, float]:
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return (point[0] * c - point[1] * s + 100, point[0] * s + point[1] * c + 100)


def spec(words: str) -> FieldSpec:
    """What a client asks by these words."""
    known = lookup(words)
    return FieldSpec(words, known.name, known.type) if known else FieldSpec(words)


def ask(lines: Sequence[Line], *words: str) -> dict[str, Field]:
    """The fields by the words they were asked by."""
    return {f.key: f for f in extract_fields(lines, [spec(w) for w in words], [(1000, 2000)])}


def values(lines: Sequence[Line], *words: str) -> dict[str, str | None]:
    """Their printed values."""
    return {key: field.value for key, field in ask(lines, *words).items()}


def rows(lines: Sequence[Line]) -> list[dict[str, str | None]]:
    """The line items, printed."""
    field = next(iter(extract_fields(lines, [FieldSpec("items", "items", FieldType.ROWS)], [(1000, 2000)])))
    return [{key: cell.value for key, cell in row.items()} for row in field.rows or ()]
