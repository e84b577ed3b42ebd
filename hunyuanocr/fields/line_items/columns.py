"""A line item, and the assignment of its numbers to quantity, unit price and amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hunyuanocr.fields.layout import TextSegment
from hunyuanocr.fields.line_items.tokens import Kind, Token
from hunyuanocr.fields.rules.page_analysis import PageAnalysis


@dataclass
class Item:
    """A line item as segments of the page, by column."""

    columns: dict[str, list[TextSegment]] = field(default_factory=dict)

    @property
    def last_row(self) -> int:
        """The last row of the page that the item occupies."""
        return max((c.row for cells in self.columns.values() for c in cells), default=-1)

    def put(self, column: str, cell: TextSegment) -> None:
        """Set a column, once; names and usages are appended."""
        if column in ("name", "usage") or column not in self.columns:
            self.columns.setdefault(column, []).append(cell)


def assign_columns(page: PageAnalysis, item: Item, values: Sequence[Token]) -> None:
    """Assign quantity, price and amount: by signs, by quantity × price = amount, by column headers, by order."""
    for token in values:
        if token.column:
            item.put(token.column, token.cell)
    loose = [t for t in values if not t.column]
    money = [t for t in loose if t.kind is Kind.MONEY]
    product = _product(loose, money) if not any(t.column for t in values) else None
    if product:
        for column, token in zip(("quantity", "unit_price", "amount"), product, strict=True):
            item.put(column, token.cell)
        return
    if page.table is not None:
        _by_columns(page, item, loose)
        return
    if money:
        item.put("amount", money[-1].cell)
    if len(money) > 1:
        item.put("unit_price", money[-2].cell)
    for token in loose:
        if token.kind is Kind.COUNT and token.value < 10000:
            item.put("quantity", token.cell)


def _product(loose: Sequence[Token], money: Sequence[Token]) -> tuple[Token, Token, Token] | None:
    """Return a quantity, a price and an amount that is their product; the rightmost amount first, counts before weights."""
    counts = sorted(loose, key=lambda t: t.kind is not Kind.COUNT)
    for amount in reversed(money):
        for count in counts:
            for price in money:
                apart = len({id(amount), id(count), id(price)}) == 3 and amount.value > 0
                if apart and abs(count.value * price.value - amount.value) <= Decimal("0.011"):
                    return count, price, amount
    return None


def _by_columns(page: PageAnalysis, item: Item, loose: Sequence[Token]) -> None:
    """Assign each number to the nearest column; a count is not assigned to the amount if there is an amount."""
    columns = [c for c in (page.table.columns if page.table else ()) if c[0] not in ("name", "usage", "reference")]
    used: set[int] = set()
    for token in sorted(loose, key=lambda t: -t.cell.x1):
        free = [n for n, c in enumerate(columns) if n not in used]
        if not free:
            break
        best = min(free, key=lambda n: distance(columns[n], token.cell))
        name = columns[best][0]
        if token.kind is Kind.COUNT and name == "amount" and any(t.kind is Kind.MONEY for t in loose):
            continue
        used.add(best)
        if name:
            item.put(name, token.cell)


def distance(column: tuple[str, float, float], cell: TextSegment) -> float:
    """Return the distance of a segment from a column in pixels: of left ends, right ends or centres, the smallest."""
    _, x0, x1 = column
    return min(abs(x0 - cell.x0), abs(x1 - cell.x1), abs(x0 + x1 - cell.x0 - cell.x1) / 2)
