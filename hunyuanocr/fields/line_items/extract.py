"""Find the rows of line items, and group them into items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.line_items.columns import Item, assign_columns, distance
from hunyuanocr.fields.line_items.patterns import ENDS, GREETING, NOTE, SPECIFICATION, USAGE
from hunyuanocr.fields.line_items.tokens import (
    Kind,
    Token,
    is_name,
    is_numbered,
    leading_quantity,
    tokens,
    trailing_quantity,
    trimmed_name,
)
from hunyuanocr.fields.rules.labels import Label
from hunyuanocr.fields.rules.page_analysis import PageAnalysis
from hunyuanocr.fields.values.dates import find_dates
from hunyuanocr.fields.values.money import find_money
from hunyuanocr.fields.values.span import to_halfwidth
from hunyuanocr.fields.values.style import PageStyle

_WORDS = (Kind.NAME, Kind.SPEC)


@dataclass
class _Group:
    """Rows of one item: the tokens of its name and of its values."""

    names: list[Token] = field(default_factory=list)
    values: list[Token] = field(default_factory=list)
    usage: list[TextSegment] = field(default_factory=list)
    fixed: list[tuple[str, TextSegment]] = field(default_factory=list)  # cells under a header of a text column
    tail: int = 0  # number of names from separate rows below the values

    @property
    def priced(self) -> bool:
        """Whether its values include an amount."""
        return any(t.kind is Kind.MONEY for t in self.values)

    def copy(self) -> _Group:
        """Return a new group with these names and values."""
        return _Group(list(self.names), list(self.values), fixed=self.fixed)


def find_items(page: PageAnalysis) -> list[Item]:
    """Return the line items of the document from top to bottom; may be empty."""
    rows = list(_region(page))
    groups = [g for g in _grouped(page, rows) if g.names and (g.values or g.usage or g.fixed)]
    priced = any(g.priced for g in groups)
    counted = page.table is not None or page.kind == "prescription" or any(is_numbered(g.names[0].cell.text) for g in groups)
    if not priced and not counted and len(groups) < 2:
        return []
    if priced:
        groups = [g for g in groups if g.priced]
    before = _counts_before(groups)
    return [_item(page, group, before) for group in groups]


def item_amounts(items: Sequence[Item], style: PageStyle) -> list[Decimal]:
    """Return the amounts of the items that have one."""
    cells = [c for item in items for c in item.columns.get("amount", ())[:1]]
    return [found[0][1].amount for c in cells if (found := find_money(c.text, style))]


def _region(page: PageAnalysis) -> Iterator[list[TextSegment]]:
    """Yield the rows below the table header, or below the document's details, down to the sums."""
    rows = page.layout.rows
    labels = [label for label in page.labels if not _may_be_name(label)]
    sums = {label.cell.row for label in labels if ENDS & label.fields.keys() and label.quality >= 0.6 and label.cell.start <= 2}
    details = {
        label.cell.row
        for label in labels
        if label.quality >= 0.9 and not ENDS & label.fields.keys() and not is_numbered(label.cell.text)
    }
    details |= {n for n, row in enumerate(rows) if any(find_dates(c.text) for c in row)}
    if page.table is not None:
        start = page.table.last_row + 1
    else:
        first = min((a.cell.row for a in page.amounts if a.printed_as_money and a.cell.row not in details), default=len(rows))
        first = min(first, *(n for n, row in enumerate(rows) if is_numbered(row[0].text) and len(row) > 1), len(rows))
        before = [n for n in details if n < first]
        start = max(before) + 1 if before else max(first - 1, 0)
    for number in range(start, len(rows)):
        if number in sums or (number in details and not any(USAGE.search(c.text) for c in rows[number])):
            return
        yield rows[number]


def _may_be_name(label: Label) -> bool:
    """Return whether a word of the request may be the name of an item: asked "Milk" and items, printed "Milk 2 9.00"."""
    return not label.colon and all(name.startswith("?") for name in label.fields)


def _grouped(page: PageAnalysis, rows: Sequence[Sequence[TextSegment]]) -> list[_Group]:
    """Group rows into items, by the position of names: next to the values, or in a row above or below them."""
    parts = []
    for row in rows:
        text = " ".join(c.text for c in row)
        if USAGE.search(text) and not is_numbered(text) and not any(t.kind is Kind.MONEY for t in tokens(page.layout, row)):
            parts.append(_Group(usage=list(row)))
            continue
        if NOTE.fullmatch(normalise_key(text)):
            continue
        if parts and GREETING.search(text) and not any(t.kind is Kind.MONEY for t in tokens(page.layout, row)):
            break
        fixed, rest = _split_text_columns(page, row)
        row_tokens = tokens(page.layout, rest)
        names, values = [t for t in row_tokens if t.kind in _WORDS], [t for t in row_tokens if t.kind not in _WORDS]
        parts.append(_Group(names, values, fixed=fixed))
    parts = [p for p in parts if p.names or p.values or p.usage]
    same_row = sum(bool(p.names and (p.values or p.fixed)) for p in parts)
    values_only = sum(bool(p.values and not p.names) for p in parts)
    below = values_only > same_row and bool(parts) and not parts[0].names and bool(parts[0].values)
    columns = sum(bool(c) and c not in ("name", "specification", "usage") for c, _, _ in page.table.columns) if page.table else 0
    if same_row >= values_only:
        columns = max(columns, int(median([len(p.values) for p in parts if p.names and p.values] or [0])))
    return _values_first(parts) if below else _names_first(parts, same_row >= values_only, columns)


def _split_text_columns(
    page: PageAnalysis, row: Sequence[TextSegment]
) -> tuple[list[tuple[str, TextSegment]], list[TextSegment]]:
    """Return the segments in text columns (result, reference, unit, usage, specification), and the other segments."""
    columns = page.table.columns if page.table else ()
    fixed: list[tuple[str, TextSegment]] = []
    rest: list[TextSegment] = []
    for number, cell in enumerate(row):
        name = min(columns, key=lambda c: distance(c, cell))[0] if columns and number else ""
        if name in ("result", "reference", "unit", "usage", "specification"):
            fixed.append((name, cell))
        else:
            rest.append(cell)
    return fixed, rest


def _names_first(parts: Sequence[_Group], wrapped: bool, columns: int) -> list[_Group]:
    """Group rows whose names are above or next to their values. `wrapped`: a name without values continues the item above.

    A row of values only belongs to the item above if that has no amount yet, or fewer values than the table has `columns`;
    otherwise it is a sum, and the list ends.
    """
    groups: list[_Group] = []
    single_amount = sum(part.priced for part in parts) == 1
    for number, part in enumerate(parts):
        last = groups[-1] if groups else None
        if last is None:
            if part.names:
                groups.append(part.copy())
        elif part.usage:
            last.usage += part.usage
        elif not part.names:
            if single_amount and part.priced and last.values:
                break  # the only amount of a list without prices is its sum
            if _accepts_values(last, part, columns):
                groups += _split_tail(last, part, columns)
                groups[-1].values += part.values
            elif not any(p.names and p.values for p in parts[number + 1 :]):
                break  # otherwise the name of this amount was not recognised
        elif _continues_name(last, part, wrapped):
            last.names += part.names
            last.tail += len(part.names) if last.values or last.fixed else 0
        elif not wrapped and part.values and not last.values and not last.usage:
            last.names += part.names
            last.values += part.values
        else:
            groups.append(part.copy())
    return groups


def _complete(last: _Group, part: _Group, columns: int) -> bool:
    """Return whether the item above has its amount already, so that another amount belongs to a new item."""
    return last.priced and part.priced and len(last.values) >= columns


def _accepts_values(last: _Group, part: _Group, columns: int) -> bool:
    """Return whether a row of values can belong to the item above, or to the name below the values of that item."""
    return not _complete(last, part, columns) or (last.tail > 0 and len(part.values) >= min(columns, 2))


def _split_tail(last: _Group, part: _Group, columns: int) -> list[_Group]:
    """Return a new item of the names below a complete item's values, which do not belong to its name."""
    if not _complete(last, part, columns):
        return []
    names = last.names[-last.tail :]
    last.names, last.tail = last.names[: -last.tail], 0
    return [_Group(names)]


def _continues_name(last: _Group, part: _Group, wrapped: bool) -> bool:
    """Return whether a name without values belongs to the item above."""
    name_only = not (part.values or part.fixed) and not is_numbered(part.names[0].cell.text)
    return name_only and bool(last.values or last.fixed) == wrapped


def _values_first(parts: Sequence[_Group]) -> list[_Group]:
    """Group rows whose values are in the row above their name."""
    groups: list[_Group] = []
    for part in parts:
        if part.values and not part.names:
            groups.append(_Group(values=list(part.values)))
        elif groups:
            groups[-1].names += part.names
            groups[-1].values += part.values
    return groups


def _counts_before(groups: Sequence[_Group]) -> bool:
    """Return whether each name is preceded by a quantity, rather than by the number of its line."""
    leads = [
        re.match(r"\d+(?:\.\d+)?", to_halfwidth(g.names[0].cell.text))
        for g in groups
        if not any(t.kind is Kind.COUNT for t in g.values)
    ]
    numbers = [m[0] for m in leads if m]
    return len(numbers) > 0.6 * len(groups) and (len(numbers) < 3 or numbers != [str(n + 1) for n in range(len(numbers))])


def _item(page: PageAnalysis, group: _Group, counts_before: bool) -> Item:
    item, layout = Item(), page.layout
    first = trimmed_name(layout, group.names[0].cell)
    has_count = any(t.kind is Kind.COUNT for t in group.values)
    split = leading_quantity(layout, first) if counts_before and not has_count else None
    if split:
        item.put("quantity", split[0])
        first = split[1]
    specified = page.kind == "prescription" or any(c == "specification" for c, _, _ in (page.table.columns if page.table else ()))
    for token in group.names[1:]:
        if token.kind is Kind.SPEC and specified:
            item.put("specification", token.cell)
    names = [first, *(t.cell for t in group.names[1:] if t.kind is Kind.NAME or not specified)]
    if not has_count and not split and (tail := trailing_quantity(layout, names[-1])):
        item.put("quantity", tail[0])
        names[-1] = tail[1]
    if (
        page.kind == "prescription"
        and (match := SPECIFICATION.search(to_halfwidth(names[0].text)))
        and is_name(names[0].text[: match.start()])
    ):
        item.put(
            "specification", layout.segment(names[0].line, names[0].start + match.start("s"), names[0].start + match.end("s"))
        )
        names[0] = layout.segment(names[0].line, names[0].start, names[0].start + match.start())
    for cell in names:
        if cell.text:
            item.put("name", cell)
    for column, cell in [*group.fixed, *(("usage", c) for c in group.usage)]:
        item.put(column, cell)
    assign_columns(page, item, group.values)
    return item
