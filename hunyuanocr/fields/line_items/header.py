"""The header of a table of line items: its columns and their positions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import Layout, TextSegment

_OTHER = "other"  # a known column that is not extracted
_HEADS = tomllib.loads(files(__package__).joinpath("heads.toml").read_text(encoding="utf-8"))
_COLUMN_OF = {word: column if column != _OTHER else "" for column, words in _HEADS.items() for word in words}
_MAX_LENGTH = max(map(len, _COLUMN_OF))
_KEY_COLUMNS = {"name", "quantity", "unit_price", "result"}


def column_for(words: str) -> str | None:
    """Return the column of line items that a client's word denotes ("qty" → quantity), or None."""
    return _COLUMN_OF.get(normalise_key(words)) or None


@dataclass(frozen=True)
class Table:
    """The header of an item table: its segments, its columns (name, left, right) from left to right, and its last row."""

    header: tuple[TextSegment, ...]
    columns: tuple[tuple[str, float, float], ...]
    last_row: int


def _words(cell: TextSegment) -> Iterator[tuple[str, int, int]]:
    """Yield the column words of a segment, the longest first, with start and end; "?" for a letter that is part of none."""
    letters = [i for i, c in enumerate(cell.text) if c.isalnum()]
    key = normalise_key(cell.text)
    if len(key) != len(letters):
        return
    position = 0
    while position < len(key):
        for length in range(min(_MAX_LENGTH, len(key) - position), 0, -1):
            if (column := _COLUMN_OF.get(key[position : position + length])) is not None:
                yield column, letters[position], letters[position + length - 1] + 1
                position += length
                break
        else:
            yield "?", letters[position], letters[position] + 1
            position += 1


def _header_columns(layout: Layout, row: Sequence[TextSegment]) -> list[tuple[str, float, float]] | None:
    """Return the columns of a row, if most of its letters are column words."""
    columns: list[tuple[str, float, float]] = []
    known = letters = 0
    for cell in row:
        if any(c.isdigit() for c in cell.text) or cell.text.rstrip().endswith((":", "：")):
            return None
        words = list(_words(cell))
        letters += sum(end - start for _, start, end in words)
        if len(words) == 1 or all(column != "?" for column, _, _ in words):
            for column, start, end in words:
                if column != "?":
                    part = layout.segment(cell.line, cell.start + start, cell.start + end)
                    columns.append((column, part.x0, part.x1))
                    known += end - start
    return columns if letters and known >= 0.6 * letters else None


def find_header(layout: Layout) -> Table | None:
    """Return the header of the item table, of one or two rows, or None. A tax summary has no name, quantity or price."""
    for number, row in enumerate(layout.rows):
        columns = _header_columns(layout, row)
        if columns is None or len({c for c, _, _ in columns if c}) < 2 or not _KEY_COLUMNS & {c for c, _, _ in columns}:
            continue
        header, last = list(row), number
        below = _header_columns(layout, layout.rows[number + 1]) if number + 1 < len(layout.rows) else None
        known = {c for c, _, _ in columns if c}
        if below and (len(layout.rows[number + 1]) > 1 or any(c and c not in known for c, _, _ in below)):
            columns += [c for c in below if c[0] not in known]
            header, last = header + list(layout.rows[number + 1]), number + 1
        return Table(tuple(header), tuple(sorted(columns, key=lambda c: c[1])), last)
    return None
