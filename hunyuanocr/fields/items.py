"""Line items: rows of a table, or names with their amounts, one line or several lines each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from hunyuanocr.fields.catalogue import compact
from hunyuanocr.fields.dates import find_dates
from hunyuanocr.fields.layout import Cell
from hunyuanocr.fields.money import decimal, find_money
from hunyuanocr.fields.page import PageView
from hunyuanocr.fields.spans import narrow

# A row that begins the sums below the items.
_ENDS = {"total_amount", "subtotal", "tax_amount", "total_quantity", "paid_amount", "change", "service_charge", "rounding", "discount"}
_PACKED = re.compile(  # 2 x 3.50, 3.50*2, 2pc @ 3.50, 2盒×12.80
    r"(?P<a>\d+(?:[.,]\d+)?)\s?(?P<u>[^\W\d_]{0,4}?)\s?[x×*@✕Ｘ]\s?(?:RM|[¥￥$])?\s?(?P<b>\d+(?:[.,]\d+)?)(?P<v>[^\W\d_]{0,3})(?!\w)", re.IGNORECASE)
_COUNT = re.compile(r"(?:[x×*#✕]\s?)?(?P<n>\d{1,4}(?:\.\d{1,3})?)\s?(?P<u>[^\W\d_]{0,4})|(?P<m>\d{1,4})\s?[x×*]", re.IGNORECASE)
_TAIL = re.compile(r"\s*(?P<sign>[x×*✕])\s?(?P<n>\d{1,3}(?:\.\d+)?[^\W\d_]?)\s*$", re.IGNORECASE)
_LEAD = re.compile(r"^(?P<n>\d{1,3}(?:\.\d+)?(?:[份盒瓶个件杯碗包支条袋串只斤张片][^\W\d]{0})?)\s*(?P<sign>[x×*✕])?\s+(?=[^\W\d_]{2})", re.IGNORECASE)
_NUMBERED = re.compile(r"^\s*\d{1,2}\s?[.、)）:]\s?(?=[^\d\s])")
_DRUG = re.compile(r"\d\s?(?:mg|g|ml|μg|ug|iu|毫克|克|毫升|万单位|万u|%)\b|\d\s?[片粒支丸袋瓶盒]|[片粒丸胶囊液膏散素]$", re.IGNORECASE)
_USAGE = re.compile(
    r"用法|口服|每日|一日|每次|外用|静滴|肌注|饭[前后]|sig|take \d|apply|times? (?:a|per)? ?da(?:y|ily)|daily|tablet.*(?:day|hour)|必要时|顿服|睡前", re.IGNORECASE)


@dataclass
class Item:
    """One line item as cells of the page, by column."""

    columns: dict[str, list[Cell]] = field(default_factory=dict)

    @property
    def last_row(self) -> int:
        """The lowest row of the page that the item fills."""
        return max((c.row for cells in self.columns.values() for c in cells), default=-1)

    def put(self, column: str, cell: Cell) -> None:
        """Set a column once; names grow."""
        if column == "name" or column not in self.columns:
            self.columns.setdefault(column, []).append(cell)


def find_items(page: PageView) -> list[Item]:
    """The line items of the document, top to bottom; empty where there are none."""
    rows = _region(page)
    if page.table is not None:
        items = _table_items(page, rows)
        if items:
            return items
    items = _priced_items(page, rows)
    return items or _drug_items(page)


def item_amounts(items: Sequence[Item]) -> list[Decimal]:
    """The amounts of the items that have one."""
    return [found[0][1].amount for item in items for c in item.columns.get("amount", ())[:1] if (found := find_money(c.text))]


def _region(page: PageView) -> list[list[Cell]]:
    """The rows between the head of the table, or the first priced row, and the sums."""
    start = page.table.last_row + 1 if page.table else 0
    ends = [k.label.cell.row for k in page.links if k.field in _ENDS and k.score >= 0.45 and k.label.cell.start <= 2 and k.label.cell.row >= start]
    ends += [label.cell.row for label in page.labels if label.cell.row >= start and label.colon and label.quality >= 1 and page.table]
    first_amount = min((a.cell.row for a in page.amounts if a.printed_as_money and a.cell.row >= start), default=start)
    end = min((e for e in ends if e > start or page.table is None), default=len(page.layout.rows))
    if page.table is None:
        labelled = {label.cell.row for label in page.labels if label.quality >= 0.9}
        labelled |= {row for row, cells in enumerate(page.layout.rows) if any(find_dates(c.text) for c in cells)}
        start = max((r + 1 for r in labelled if r < first_amount), default=max(first_amount - 2, 0))
    return page.layout.rows[start:end]


def _is_name(text: str) -> bool:
    """Two letters of a word at least, and not a number with a unit or a code."""
    plain = narrow(text).strip()
    chinese = sum(ord(c) > 0x2E80 and c.isalpha() for c in plain)
    latin = sum(c.isascii() and c.isalpha() for c in plain)
    if _COUNT.fullmatch(plain) or _PACKED.fullmatch(plain) or find_dates(plain):
        return False
    return chinese >= 2 or (chinese == 1 and len(plain) <= 3 and not any(c.isdigit() for c in plain)) or latin >= 3


def _money_cells(page: PageView, cell: Cell) -> list[Cell]:
    """The amounts in a cell, those that a decimal part or a currency shows to be money."""
    found = find_money(cell.text)
    return [page.layout.cell(cell.line, cell.start + s.start, cell.start + s.end) for s, m in found if m.currency or "." in s.text or "," in s.text]


def _value(cell: Cell) -> Decimal:
    found = find_money(cell.text)
    if found:
        return abs(found[0][1].amount)
    match = re.search(r"\d[\d,]*(?:\.\d+)?", narrow(cell.text))
    return decimal(match[0]) if match else Decimal(0)


def _priced_items(page: PageView, rows: Sequence[Sequence[Cell]]) -> list[Item]:
    """Items without heads of columns: a row with money closes an item whose name stands in it or just above."""
    items: list[Item] = []
    waiting: list[Cell] = []
    for row in rows:
        names, numbers = _split(page, row)
        money = [n for n in numbers if _money_cells(page, n)]
        if not money:
            waiting = [*waiting[-1:], *names] if names and not numbers else names or waiting
            continue
        item = Item()
        for cell in names or waiting[-1:]:
            item.put("name", cell)
        if not item.columns and items and "unit_price" not in items[-1].columns and len(numbers) > 1:
            item = items.pop()  # a name with its amount above, count and price below
        _numbers(page, item, numbers)
        if item.columns.get("name"):
            items.append(item)
        waiting = []
    return items


def _split(page: PageView, row: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """The cells of a row that are names, and those (or the parts) that are numbers."""
    names: list[Cell] = []
    numbers: list[Cell] = []
    for cell in row:
        amounts = find_money(cell.text)
        packed = _PACKED.search(narrow(cell.text))
        last = amounts[-1][0] if amounts else None
        if packed and not _is_name(narrow(cell.text)[:packed.start()]):
            numbers.append(cell)
        elif last and ("." in last.text or amounts[-1][1].currency) and last.start > 0 and _is_name(cell.text[:last.start]):
            names.append(page.layout.cell(cell.line, cell.start, cell.start + last.start))
            numbers.append(page.layout.cell(cell.line, cell.start + last.start, cell.end))
        elif _is_name(cell.text):
            names.append(cell)
        elif any(c.isdigit() for c in cell.text):
            numbers.append(cell)
    return names, numbers


def _numbers(page: PageView, item: Item, cells: Sequence[Cell]) -> None:
    """Quantity, unit price, amount out of a row's numbers: by their signs, then by quantity × price = amount, then by place."""
    loose: list[Cell] = []
    for cell in cells:
        packed = _PACKED.search(narrow(cell.text))
        if packed:
            _packed(page, item, cell, packed)
            rest = page.layout.cell(cell.line, cell.start + packed.end(), cell.end)
            loose += _money_cells(page, rest) if rest.text else []
        else:
            loose += _money_cells(page, cell) or [cell]
    money = [c for c in loose if _money_cells(page, c)]
    counts = [c for c in loose if c not in money and _COUNT.fullmatch(narrow(c.text).strip()) and _value(c) < 10000]
    if money:
        _by_product(item, counts + money, money)
        item.put("amount", money[-1])
    if counts:
        item.put("quantity", counts[-1])
    if len(money) > 1 and "unit_price" not in item.columns and money[-2] is not item.columns.get("quantity", [None])[0]:
        item.put("unit_price", money[-2])


def _by_product(item: Item, factors: Sequence[Cell], money: Sequence[Cell]) -> None:
    for amount in reversed(money):
        for q in factors:
            for price in money:
                apart = price is not amount and q is not price and q is not amount
                if apart and _value(amount) and abs(_value(q) * _value(price) - _value(amount)) <= Decimal("0.02") and q.x0 < amount.x0:
                    item.put("quantity", q)
                    item.put("unit_price", price)
                    item.put("amount", amount)
                    return


def _packed(page: PageView, item: Item, cell: Cell, match: re.Match[str]) -> None:
    """2 × 3.50 and 3.50 × 2: the price is the one with decimals, else the second."""
    first = page.layout.cell(cell.line, cell.start + match.start("a"), cell.start + match.end("u"))
    second = page.layout.cell(cell.line, cell.start + match.start("b"), cell.start + match.end("v"))
    backwards = "." in match["a"] and "." not in match["b"] and "@" not in match[0]
    quantity, price = (second, first) if backwards else (first, second)
    item.put("quantity", quantity)
    item.put("unit_price", price)


def _table_items(page: PageView, rows: Sequence[Sequence[Cell]]) -> list[Item]:
    """Items under the heads of columns; a row without numbers is a name that continues, or comes before its numbers."""
    items: list[Item] = []
    waiting: list[Cell] = []
    names_after = _names_after(page, rows)
    for row in rows:
        placed = _placed(page, row)
        names = [c for column, c in placed if column == "name"]
        numbers = [(column, c) for column, c in placed if column not in ("name", "usage", "specification")]
        valued = [c for column, c in numbers if column in ("quantity", "unit_price", "amount", "result")]
        if not valued:
            waiting = _continue(page, items, waiting, row, names, names_after)
            continue
        item = Item()
        for cell in names or waiting[-1:]:
            item.put("name", cell)
        for column, cell in placed:
            if column and column != "name":
                item.put(column, cell)
        waiting = []
        if item.columns.get("name") or names_after:
            items.append(item)
    return [item for item in items if item.columns.get("name")]


def _continue(
    page: PageView, items: list[Item], waiting: list[Cell], row: Sequence[Cell], names: list[Cell], names_after: bool
) -> list[Cell]:
    """A row without values: the name of the item above, its usage, or the name of the next."""
    text = " ".join(c.text for c in row)
    if items and _USAGE.search(text):
        items[-1].put("usage", row[0])
    elif names_after and items and "name" not in items[-1].columns:
        for cell in names or [c for c in row if _is_name(c.text)][:1]:
            items[-1].put("name", cell)
    elif names:
        return [*waiting, *names]
    return waiting


def _names_after(page: PageView, rows: Sequence[Sequence[Cell]]) -> bool:
    """Whether the numbers of an item stand above its name: the first row has values and no name, the last a name and no values."""
    kinds = [_split(page, row) for row in rows]
    kinds = [k for k in kinds if k[0] or k[1]]
    return len(kinds) > 1 and not kinds[0][0] and bool(kinds[0][1]) and bool(kinds[-1][0]) and not any(_money_cells(page, c) for c in kinds[-1][1])


def _placed(page: PageView, row: Sequence[Cell]) -> list[tuple[str, Cell]]:
    """The cells of a row under their columns; a cell that holds several numbers is cut at its spaces."""
    columns = page.table.columns if page.table else ()
    placed: list[tuple[str, Cell]] = []
    taken: set[int] = set()
    pieces = [part for cell in row for part in _parts(page, cell)]
    for n, part in enumerate(pieces):
        if _is_name(part.text) and (n == 0 or not any(c.isdigit() for c in part.text)) and _first_name(columns, part):
            placed.append(("name", part))
            continue
        best = min(
            (k for k in range(len(columns)) if k not in taken and columns[k][0] != "name"), default=None,
            key=lambda k: min(abs(columns[k][1] - part.x0), abs(columns[k][2] - part.x1), abs(columns[k][1] + columns[k][2] - part.x0 - part.x1) / 2),
        )
        if best is not None and any(c.isdigit() for c in part.text) or (best is not None and columns[best][0] in ("specification", "unit", "usage", "reference", "")):
            taken.add(best)
            placed.append((columns[best][0], part))
        elif _is_name(part.text):
            placed.append(("name", part))
    return placed


def _first_name(columns: Sequence[tuple[str, float, float]], part: Cell) -> bool:
    """Whether the cell begins nearer to the column of names than to any other."""
    named = [c for c in columns if c[0] == "name"]
    if not named:
        return True
    others = [c for c in columns if c[0] not in ("name", "")]
    return all(abs(named[0][1] - part.x0) <= min(abs(c[1] - part.x0), abs(c[2] - part.x0)) for c in others)


def _parts(page: PageView, cell: Cell) -> list[Cell]:
    """A cell cut where a name ends and numbers begin, or between numbers that the reader ran together."""
    text = narrow(cell.text)
    amounts = [s for s, m in find_money(text) if "." in s.text or m.currency]
    cuts = [s.start for s in amounts if s.start > 0 and text[s.start - 1].isspace()]
    edges = [0, *cuts, len(text)]
    return [page.layout.cell(cell.line, cell.start + a, cell.start + b) for a, b in zip(edges, edges[1:], strict=False) if text[a:b].strip()]


def _drug_items(page: PageView) -> list[Item]:
    """Numbered or dosed lines of a prescription that has no prices."""
    items: list[Item] = []
    for row in page.layout.rows:
        text = " ".join(c.text for c in row)
        first = row[0]
        if _USAGE.search(text) and items and not _NUMBERED.match(first.text):
            items[-1].put("usage", first)
        elif _NUMBERED.match(first.text) or (_DRUG.search(narrow(text)) and _is_name(first.text) and len(row) > 1):
            item = Item()
            item.put("name", first)
            for cell in row[1:]:
                item.put("quantity" if _COUNT.fullmatch(narrow(cell.text).strip()) else "specification", cell)
            items.append(item)
    return items if len(items) > 0 and any("quantity" in i.columns or "usage" in i.columns for i in items) else []


def trim_name(page: PageView, cell: Cell) -> Cell:
    """A name without its number in the list, a barcode before it, a count around it."""
    text = cell.text
    start = m.end() if (m := _NUMBERED.match(text)) else 0
    if m := re.match(r"\s*\d{5,14}\s+(?=\S*[^\W\d])", text[start:]):
        start += m.end()
    return page.layout.cell(cell.line, cell.start + start, cell.end) if compact(text[start:]) else cell
