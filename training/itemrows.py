"""The ways in which tills print line items: tables of four or three columns, two lines an item, a count before the name."""

from __future__ import annotations

from collections.abc import Callable

from training.goods import Item
from training.model import Cell, Mark
from training.plan import Plan
from training.writer import Writer, marked

HEADS = {
    "zh": (
        ("品名", "商品", "名称", "商品名称", "菜品", "项目", "品名/条码"),
        ("数量", "数 量", "数"),
        ("单价", "价格", "单 价"),
        ("金额", "小计", "金 额", "总价"),
    ),
    "en": (
        ("Item", "ITEM", "Description", "DESC", "Product"),
        ("Qty", "QTY"),
        ("Price", "U.Price", "PRICE", "@"),
        ("Amount", "AMT", "Total", "AMOUNT"),
    ),
}
Layout = Callable[[Writer, int, Item, str], None]
COLUMNS = (0.0, 0.58, 0.79, 1.0)  # left edge of the name; right edges of quantity, price, amount


def write_items(w: Writer, plan: Plan) -> None:
    """All line items in one of the layouts, with a row of column heads where the layout has columns."""
    rng = w.rng
    if "total_amount" in plan.missing:
        _slip(w, plan)
        return
    layouts: tuple[Layout, ...] = (_table, _two_rows, _three_columns, _count_first, _name_amount)
    layout = rng.choices(layouts, (32, 28, 16, 12, 12))[0]
    if layout in {_table, _three_columns} and rng.random() < 0.85:
        heads = [rng.choice(words) for words in HEADS[w.style.language]]
        columns = (0, 1, 2, 3) if layout is _table else (0, 1, 3)
        w.row(*(Cell(heads[c], COLUMNS[c], "right" if c else "left") for c in columns))
        if rng.random() < 0.5:
            w.rule()
    numbered = rng.random() < 0.15
    for number, one in enumerate(plan.items):
        prefix = f"{number + 1}." if numbered and layout in {_table, _two_rows} else ""
        layout(w, number, one, prefix)
    if rng.random() < 0.85:
        w.rule()


def _name(number: int, one: Item, prefix: str, width: float) -> Cell:
    return Cell(prefix + one.name, width=width, marks=marked(prefix + one.name, f"items.{number}.name", one.name))


def _number(number: int, key: str, text: str, column: int) -> Cell:
    return Cell(text, COLUMNS[column], "right", marks=marked(text, f"items.{number}.{key}"))


def _table(w: Writer, number: int, one: Item, prefix: str) -> None:
    w.row(
        _name(number, one, prefix, 0.45),
        _number(number, "quantity", one.quantity, 1),
        _number(number, "unit_price", w.money(one.price, plain=True), 2),
        _number(number, "amount", w.money(one.amount, plain=True), 3),
    )


def _three_columns(w: Writer, number: int, one: Item, prefix: str) -> None:
    text = ("x" if w.style.info == "tab" else "") + one.quantity
    quantity = Cell(text, COLUMNS[1], "right", marks=marked(text, f"items.{number}.quantity", one.quantity))
    w.row(_name(number, one, prefix, 0.48), quantity, _number(number, "amount", w.money(one.amount, plain=True), 3))


def _two_rows(w: Writer, number: int, one: Item, prefix: str) -> None:
    w.row(_name(number, one, prefix, 1.0))
    price, amount = w.money(one.price, plain=True), w.money(one.amount, plain=True)
    if w.style.info == "inline":
        sign = {"zh": " × ", "en": " x "}[w.style.language] if w.style.thousands else "*"
        quantity = one.quantity + one.unit
        text = quantity + sign + price
        marks = (
            *marked(text, f"items.{number}.quantity", quantity),
            Mark(f"items.{number}.unit_price", len(text) - len(price), len(text)),
        )
        w.row(Cell(text, 0.06, marks=marks), _number(number, "amount", amount, 3))
    else:
        w.row(
            _number(number, "quantity", one.quantity, 1),
            _number(number, "unit_price", price, 2),
            _number(number, "amount", amount, 3),
        )


def _count_first(w: Writer, number: int, one: Item, prefix: str) -> None:
    head = f"{one.quantity}{one.unit} x " if w.style.thousands else f"{one.quantity}{one.unit} "
    marks = (
        Mark(f"items.{number}.quantity", 0, len(one.quantity + one.unit)),
        Mark(f"items.{number}.name", len(head), len(head + one.name)),
    )
    w.row(Cell(head + one.name, width=0.74, marks=marks), _number(number, "amount", w.money(one.amount), 3))


def _name_amount(w: Writer, number: int, one: Item, prefix: str) -> None:
    tail = "" if one.quantity == "1" else f" x{one.quantity}{one.unit}"
    marks = marked(one.name, f"items.{number}.name")
    if tail:
        marks += (Mark(f"items.{number}.quantity", len(one.name) + 2, len(one.name + tail)),)
    w.row(Cell(one.name + tail, width=0.74, marks=marks), _number(number, "amount", w.money(one.amount), 3))


def _slip(w: Writer, plan: Plan) -> None:
    """A kitchen's slip: names and counts, no prices."""
    for number, one in enumerate(plan.items):
        w.row(
            _name(number, one, "", 0.75), Cell(one.quantity, 1.0, "right", marks=marked(one.quantity, f"items.{number}.quantity"))
        )
    w.rule()
