"""The drugs of a prescription: their choice, usage and layout."""

from __future__ import annotations

import random
from dataclasses import dataclass

from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Align, Cell, Language, Mark
from synthesis.document_state import Plan
from synthesis.line_items import Item
from synthesis.writer import Writer, marked

NO_DRUGS = ("口罩", "体温计", "创可贴", "Mask", "Bandage")  # sold by a pharmacy, not prescribed
TABLE: tuple[tuple[float, Align], ...] = ((0.01, "left"), (0.38, "left"), (0.67, "right"), (0.83, "right"), (0.99, "right"))
HEADS = {
    "zh": (("药品名称", "规格", "数量", "单价", "金额"), ("名称", "规格", "数量", "单价", "小计")),
    "en": (("Drug", "Strength", "Qty", "Price", "Amount"), ("Medication", "Dose", "Qty", "Unit", "Total")),
}


@dataclass(frozen=True)
class Drug(Item):
    """A line item with its strength or pack, and its usage."""

    pack: str = ""
    usage: str = ""


def choose_drugs(rng: random.Random, language: Language) -> tuple[Drug, ...]:
    """Choose one to five different drugs."""
    stock = [row for row in (zh.DRUGS if language == "zh" else en.DRUGS) if not any(word in row[0] for word in NO_DRUGS)]
    drugs = []
    for name, typical, (pack, unit) in rng.sample(stock, rng.choice((1, 2, 2, 3, 3, 4, 5))):
        price = round(typical * rng.uniform(80, 130) / (1 if language == "zh" else 10))
        count = (
            rng.choice((1, 1, 2, 3)) if language == "zh" or unit in {"btl", "tube", "pcs", "box"} else rng.choice((10, 14, 21))
        )
        usage = (_zh_usage if language == "zh" else _en_usage)(rng, name)
        drugs.append(Drug(name, str(count), price, price * count, unit=unit, pack=pack, usage=usage))
    return tuple(drugs)


def _zh_usage(rng: random.Random, name: str) -> str:
    if name.endswith("注射液"):
        return rng.choice(zh.USAGES_DRIP)
    unit = next((unit for ending, unit in zh.DOSES.items() if name.endswith(ending)), None)
    if unit is None:
        return rng.choice(zh.USAGES_OUTER)
    return rng.choice(zh.USAGES).format(n=rng.choice((1, 1, 2, 2, 3)), u=unit)


def _en_usage(rng: random.Random, name: str) -> str:
    if "Cream" in name:
        return rng.choice(en.USAGES_OUTER)
    liquid = any(word in name for word in ("Syrup", "Inhaler", "Suspension"))
    return rng.choice(en.USAGES_LIQUID if liquid else en.USAGES).format(n=rng.choice((1, 1, 2)))


def write_drugs(w: Writer, plan: Plan) -> None:
    """Write the drugs as numbered lines with usage below, or as a table with prices, with or without lines."""
    rng = w.rng
    w.line(rng.choice(("Rp.", "Rp", "R.", "Rx", "R:")) if w.style.language == "zh" else "Rx", scale=1.3, bold=True)
    drugs = [one for one in plan.items if isinstance(one, Drug)]
    priced = "total_amount" not in plan.missing
    if rng.random() < 0.6 or not priced:
        for number, one in enumerate(drugs):
            _numbered(w, number, one, amounts=priced and w.style.sums == "tab")
    else:
        grid = (0.0, 0.37, 0.57, 0.69, 0.85, 1.0) if rng.random() < 0.4 else ()
        w.row(
            *(Cell(head, x, align) for head, (x, align) in zip(rng.choice(HEADS[w.style.language]), TABLE, strict=True)),
            grid=grid,
        )
        for number, one in enumerate(drugs):
            _tabled(w, number, one, grid)
    w.rule()


def _quantity(w: Writer, one: Drug) -> str:
    return one.quantity + one.unit if w.style.language == "zh" else one.quantity


def _numbered(w: Writer, number: int, one: Drug, *, amounts: bool) -> None:
    head, field = (
        f"{number + 1}{'. ' if w.style.thousands else '、'}" if w.style.language == "zh" else f"{number + 1}. ",
        f"items.{number}",
    )
    name = head + one.name
    sign, quantity = "×" if w.style.language == "zh" else "#", _quantity(w, one)
    tail = Cell(sign + quantity, 0.76 if amounts else 0.97, "right", marks=(Mark(f"{field}.quantity", 1, 1 + len(quantity)),))
    cells = [
        Cell(f"{name}  {one.pack}", 0.03, width=0.6 if amounts else 0.75, marks=marked(name, f"{field}.name", one.name)),
        tail,
    ]
    if amounts:
        text = w.money(one.amount, plain=True)
        cells.append(Cell(text, 0.97, "right", marks=marked(text, f"{field}.amount")))
    w.row(*cells)
    w.row(Cell(one.usage, 0.1, width=0.85), space=0.2)


def _tabled(w: Writer, number: int, one: Drug, grid: tuple[float, ...]) -> None:
    price, amount = w.money(one.price, plain=True), w.money(one.amount, plain=True)
    parts = ((one.name, "name"), (one.pack, None), (_quantity(w, one), "quantity"), (price, "unit_price"), (amount, "amount"))
    cells = []
    for (text, key), (x, align) in zip(parts, TABLE, strict=True):
        width = 0.33 if key == "name" else 0.19
        cells.append(Cell(text, x, align, width=width, marks=marked(text, f"items.{number}.{key}" if key else None)))
    w.row(*cells, grid=grid)
    if not grid:
        w.row(Cell(one.usage, 0.05, width=0.9), space=0.15)
