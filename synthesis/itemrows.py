"""Layouts of line items: tables of four or three columns, two lines per item, a quantity before the name."""

from __future__ import annotations

from collections.abc import Callable

from synthesis.document import Cell, Mark
from synthesis.document_state import Plan
from synthesis.lexicon_format import words
from synthesis.line_items import Item
from synthesis.writer import Writer, marked

HEADS = {
    "zh": (
        words("品名; 商品; 名称; 商品名称; 菜品; 项目; 品名/条码; 货名"),
        words("数量; 数 量; 数; 数量/重量"),
        words("单价; 价格; 单 价; 售价"),
        words("金额; 小计; 金 额; 总价; 合计"),
    ),
    "en": (
        words("Item; ITEM; Description; DESC; Product; Item Name"),
        words("Qty; QTY"),
        words("Price; U.Price; PRICE; @"),
        words("Amount; AMT; Total; AMOUNT; Amt"),
    ),
}
EXTRAS = {
    "zh": (words("少辣; 加冰 少糖; 不要香菜; 打包; 微辣; 堂食; 七分糖"), words("会员价; 特价; 第二件半价; 促销; 赠品")),
    "en": (
        words("no onions; extra hot; less sugar; take away; medium rare"),
        words("member price; promo; 2nd half price; clearance"),
    ),
}
Layout = Callable[[Writer, int, Item, str], None]
COLUMNS = (0.0, 0.54, 0.77, 1.0)  # left edge of the name; right edges of quantity, price, amount
BELOW = (0.0, 0.3, 0.65, 1.0)  # the same in a row below the name, which has more space


def write_items(w: Writer, plan: Plan) -> None:
    """Write all line items in one of the layouts, with a header if the layout has columns."""
    rng = w.rng
    if "total_amount" in plan.missing:
        _slip(w, plan)
        return
    layouts: tuple[Layout, ...] = (_table, _two_rows, _three_columns, _count_first, _name_amount)
    layout = rng.choices(layouts, (0 if w.style.chars < 38 else 40, 32, 18, 13, 13))[0]
    plan.columns = layout in {_table, _three_columns}
    if rng.random() < (0.85 if plan.columns else 0.4 if layout is _two_rows else 0.0):
        heads = [rng.choice(names) for names in HEADS[w.style.language]]
        edges = COLUMNS if plan.columns else BELOW
        shown = (0, 1, 3) if layout is _three_columns else (0, 1, 2, 3)
        w.row(*(Cell(heads[c], edges[c], "right" if c else "left") for c in shown))
        if rng.random() < 0.5:
            w.rule()
    numbered = layout in {_table, _two_rows} and rng.random() < 0.15
    for number, one in enumerate(plan.items):
        layout(w, number, one, f"{number + 1}." if numbered else "")
        if rng.random() < 0.05:  # a guest's request, or a reason for the price
            w.row(
                Cell(
                    rng.choice(("- {}", "* {}", "+{}", "({})")).format(
                        rng.choice(EXTRAS[w.style.language][plan.variant != "restaurant"])
                    ),
                    0.05,
                )
            )
    if rng.random() < 0.85:
        w.rule()


def _name(number: int, one: Item, prefix: str, width: float) -> Cell:
    return Cell(prefix + one.name, width=width, marks=marked(prefix + one.name, f"items.{number}.name", one.name))


def _number(number: int, key: str, text: str, edge: float) -> Cell:
    return Cell(text, edge, "right", marks=marked(text, f"items.{number}.{key}"))


def _numbers(w: Writer, number: int, one: Item, edges: tuple[float, ...]) -> tuple[Cell, ...]:
    return (
        _number(number, "quantity", one.quantity, edges[1]),
        _number(number, "unit_price", w.money(one.price, plain=True), edges[2]),
        _number(number, "amount", w.money(one.amount, plain=True), edges[3]),
    )


def _table(w: Writer, number: int, one: Item, prefix: str) -> None:
    w.row(_name(number, one, prefix, 0.42), *_numbers(w, number, one, COLUMNS))


def _three_columns(w: Writer, number: int, one: Item, prefix: str) -> None:
    text = ("x" if w.style.info == "tab" else "") + one.quantity
    quantity = Cell(text, COLUMNS[2], "right", marks=marked(text, f"items.{number}.quantity", one.quantity))
    w.row(_name(number, one, prefix, 0.6), quantity, _number(number, "amount", w.money(one.amount, plain=True), 1.0))


def _two_rows(w: Writer, number: int, one: Item, prefix: str) -> None:
    """Write the name; below it a bar code or the numbers, in columns or as "2 x 3.50"."""
    w.row(_name(number, one, prefix, 1.0))
    if w.style.info == "tab" and not w.rng.random() < 0.3:  # some receipts have article numbers
        w.row(Cell(f"69{w.rng.randint(10**10, 10**11 - 1)}", 0.02))
    if w.style.info == "apart":
        w.row(*_numbers(w, number, one, BELOW))
        return
    price, quantity = w.money(one.price, plain=True), one.quantity + one.unit
    sign = (" × " if w.style.language == "zh" else " x ") if w.style.thousands else "*"
    text = quantity + sign + price
    marks = marked(text, f"items.{number}.quantity", quantity)
    marks += (Mark(f"items.{number}.unit_price", len(text) - len(price), len(text)),)
    w.row(Cell(text, 0.06, marks=marks), _number(number, "amount", w.money(one.amount, plain=True), 1.0))


def _count_first(w: Writer, number: int, one: Item, prefix: str) -> None:
    quantity = one.quantity + one.unit
    head = quantity + (" x " if w.style.thousands else " ")
    marks = marked(head, f"items.{number}.quantity", quantity)
    marks += (Mark(f"items.{number}.name", len(head), len(head + one.name)),)
    w.row(Cell(head + one.name, width=0.74, marks=marks), _number(number, "amount", w.money(one.amount), 1.0))


def _name_amount(w: Writer, number: int, one: Item, prefix: str) -> None:
    quantity = one.quantity + one.unit
    tail = "" if quantity == "1" else f" x{quantity}"
    marks = marked(one.name, f"items.{number}.name")
    if tail:
        marks += (Mark(f"items.{number}.quantity", len(one.name) + 2, len(one.name + tail)),)
    w.row(Cell(one.name + tail, width=0.74, marks=marks), _number(number, "amount", w.money(one.amount), 1.0))


def _slip(w: Writer, plan: Plan) -> None:
    """Write a kitchen slip: names and quantities, no prices."""
    for number, one in enumerate(plan.items):
        w.row(_name(number, one, "", 0.75), _number(number, "quantity", one.quantity, 1.0))
    w.rule()
