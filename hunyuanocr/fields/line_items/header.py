"""The heads of a table of line items: which words stand above which column, and where."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import Layout, TextSegment

_OTHER = "other"  # a column that is known and not asked for
_HEADS = tomllib.loads(files(__package__).joinpath("heads.toml").read_text(encoding="utf-8"))
_COLUMN_OF = {word: column if column != _OTHER else "" for column, words in _HEADS.items() for word in words}
_MAX_LENGTH = max(map(len, _COLUMN_OF))
_KEY_COLUMNS = {"name", "quantity", "unit_price", "result"}


def column_for(words: str) -> str | None:
    """The column of line items that a client's word means ("qty" → quantity), or None."""
    return _COLUMN_OF.get(normalise_key(words)) or None


@dataclass(frozen=True)
class Table:
    """The head of an item table: its cells, its columns from left to right with their ends, and the row it ends in."""

    header: tuple[TextSegment, ...]
    columns: tuple[tuple[str, float, float], ...]
    last_row: int


def _words(cell: TextSegment) -> Iterator[tuple[str, int, int]]:
    """The column words that make up a cell, longest first, each with its place; a letter that fits none spoils it all."""
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


def _head(layout: Layout, row: Sequence[TextSegment]) -> list[tuple[str, float, float]] | None:
    """The columns of a row if nearly all that stands in it are column words."""
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
    """The head of the item table, perhaps of two rows, or None. A summary of taxes has no name, quantity or price."""
    for number, row in enumerate(layout.rows):
        columns = _head(layout, row)
        if columns is None or len({c for c, _, _ in columns if c}) < 2 or not _KEY_COLUMNS & {c for c, _, _ in columns}:
            continue
        header, last = list(row), number
        below = _head(layout, layout.rows[number + 1]) if number + 1 < len(layout.rows) else None
        taken = {c for c, _, _ in columns if c}
        if below and (len(layout.rows[number + 1]) > 1 or any(c and c not in taken for c, _, _ in below)):
            columns += [c for c in below if c[0] not in taken]
            header, last = header + list(layout.rows[number + 1]), number + 1
        return Table(tuple(header), tuple(sorted(columns, key=lambda c: c[1])), last)
    return None
