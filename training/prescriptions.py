"""A prescription: hospital, patient, diagnosis, drugs with dose and quantity, doctor, price of the drugs."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from training import lexicon_en as en
from training import lexicon_zh as zh
from training import people
from training.goods import Item, Sums
from training.model import Cell, Document, Language, Mark
from training.plan import Plan, choose_bare, finish
from training.writer import Style, Writer, choose_style, marked

Entry = tuple[str, str, tuple[tuple[str, str], ...]]


def prescription(rng: random.Random, language: Language) -> Document:
    """One prescription, the total perhaps not printed (the price is then asked for and null)."""
    drugs = _drugs(rng, language)
    total = sum(one.amount for one in drugs)
    missing = frozenset(
        key for key, chance in (("total_amount", 0.06), ("date", 0.04), ("patient", 0.03)) if rng.random() < chance
    )
    bare = choose_bare(rng) - missing
    plan = Plan("prescription", "prescription", people.moment(rng), drugs, Sums(total, total=total, paid=total), bare, missing)
    w = Writer(rng, _formal(rng, choose_style(rng, language)))
    for section in (_heading, _patient, _rx, _below):
        section(w, plan)
    return finish(w, plan, seal=_seal(rng, language))


def _formal(rng: random.Random, style: Style) -> Style:
    colon = rng.choice(("：", ":", "：")) if style.language == "zh" else rng.choice((": ", ":"))
    return Style(
        style.language,
        colon,
        "inline",
        rng.choice(("inline", "inline", "apart")),
        "solid",
        style.symbol,
        rng.choice(("", "", "元")) if style.symbol == "" and style.language == "zh" else "",
        style.thousands,
        style.date,
        style.time,
    )


def _seal(rng: random.Random, language: Language) -> str | None:
    return (
        rng.choice(("收费专用章", "处方专用章", "药房已发药", "门诊收费章")) if language == "zh" and rng.random() < 0.3 else None
    )


def _drugs(rng: random.Random, language: Language) -> tuple[Item, ...]:
    chosen = rng.sample(zh.DRUGS if language == "zh" else en.DRUGS, rng.choice((1, 2, 2, 3, 3, 4, 5)))
    usages = zh.USAGES if language == "zh" else en.USAGES
    drugs = []
    for name, pack, typical, unit in chosen:
        cents, count = (
            round(typical * rng.uniform(80, 130)),
            rng.choice((1, 1, 2, 3)) if language == "zh" else rng.choice((1, 2, 10, 14, 21)),
        )
        usage = rng.choice(usages).format(n=rng.choice((1, 2, 2, 3)))
        drugs.append(Item(name, str(count), cents, cents * count, unit=unit, note=f"{pack}|{usage}"))
    return tuple(drugs)


def _heading(w: Writer, plan: Plan) -> None:
    rng, language = w.rng, w.style.language
    middle = Cell("", 0.5, "center")
    name = people.hospital(rng, language)
    if rng.random() < 0.85:
        if language == "zh" and rng.random() < 0.25:
            w.line(name + "处方笺", "hospital", value=name, like=middle, scale=1.5, bold=rng.random() < 0.5)
        else:
            w.line(name, "hospital", like=middle, scale=rng.choice((1.3, 1.5, 1.7)), bold=rng.random() < 0.5)
            w.line(
                rng.choice(("处 方 笺", "处方笺", "门诊处方", "普通处方", "门诊处方笺", "电子处方"))
                if language == "zh"
                else rng.choice(("PRESCRIPTION", "Prescription", "Rx Order")),
                like=middle,
                scale=1.2,
            )
    else:
        w.line("处方笺" if language == "zh" else "PRESCRIPTION", like=middle, scale=1.5)
        w.pair(w.label("hospital"), name, (("hospital", name),))
    if language == "en" and rng.random() < 0.5:
        text = people.address(rng, language)
        w.line(text, "address", like=middle)
    if rng.random() < 0.3:
        value = people.phone(rng, language)
        w.line(w.label("phone") + w.style.colon + value, "phone", value=value, like=middle)


def _patient(w: Writer, plan: Plan) -> None:
    """Particulars in rows of two or three."""
    rng, language = w.rng, w.style.language
    who, years = people.person(rng, language), rng.randint(1, 88)
    gender = rng.choice(("男", "女")) if language == "zh" else rng.choice(("M", "F", "Male", "Female"))
    age = f"{years}{rng.choice(('岁', '', '岁'))}" if language == "zh" else f"{years}{rng.choice(('', ' yrs', 'y'))}"
    words = zh if language == "zh" else en
    born = datetime(plan.when.year - years, rng.randint(1, 12), rng.randint(1, 28))
    options = (
        ("patient", who, "patient", 0.0 if "patient" in plan.missing else 1.0), ("gender", gender, "gender", 0.9), ("age", age, "age", 0.9),
        ("department", rng.choice(words.DEPARTMENTS), "department", 0.75), ("record", f"{rng.randint(10**6, 10**9)}", None, 0.6),
        ("prescription_number", people.serial(rng, plan.when), "prescription_number", 0.4), ("birth_date", people.written(born, w.style.date), "birth_date", 0.12),
    )  # fmt: skip
    entries: list[Entry] = [
        (w.label(key), value, ((name, value),) if name else ()) for key, value, name, chance in options if rng.random() < chance
    ]
    if rng.random() < 0.4 and language == "zh":
        entries.append(("费别", rng.choice(("自费", "医保", "公费", "城镇职工医保")), ()))
    day = people.written(plan.when, w.style.date)
    above = rng.random() < 0.65
    if above and not {"date"} & (plan.bare | plan.missing):
        entries.append((w.label("rx_date"), day, (("date", day),)))
        plan.printed.add("date")
    if rng.random() < 0.5:
        w.rule()
    if above and "date" in plan.bare:
        w.line(day, "date", like=Cell("", 1.0, "right"))
        plan.printed.add("date")
    _in_columns(w, entries, rng.choice((2, 3, 3)) if language == "zh" else 2)
    if rng.random() < 0.85:
        value = rng.choice(words.DIAGNOSES)
        w.pair(w.label("diagnosis"), value, (("diagnosis", value),))
    w.rule()


def _in_columns(w: Writer, entries: list[Entry], count: int) -> None:
    for first in range(0, len(entries), count):
        w.row(*(w.run(*entry, x=number / count) for number, entry in enumerate(entries[first : first + count])), space=0.15)


def _rx(w: Writer, plan: Plan) -> None:
    """The drugs: as numbered lines with usage below, or as a table with prices."""
    rng = w.rng
    w.line(rng.choice(("Rp.", "Rp", "R.", "Rx")) if w.style.language == "zh" else "Rx", scale=1.3, bold=True)
    layout = rng.choice((_numbered, _numbered, _table))
    if layout is _table:
        heads = (
            ("药品名称", "规格", "数量", "单价", "金额")
            if w.style.language == "zh"
            else ("Drug", "Strength", "Qty", "Price", "Amount")
        )
        w.row(*(Cell(head, x, align) for head, (x, align) in zip(heads, TABLE, strict=True)))  # type: ignore[arg-type]
    for number, one in enumerate(plan.items):
        layout(w, number, one)
    w.rule()


TABLE = ((0.0, "left"), (0.37, "left"), (0.66, "right"), (0.82, "right"), (1.0, "right"))


def _numbered(w: Writer, number: int, one: Item) -> None:
    pack, usage = one.note.split("|")
    head, field = f"{number + 1}. " if w.style.thousands else f"{number + 1}、", f"items.{number}"
    name = Cell(
        head + one.name + "  " + pack if w.style.colon == "：" else head + one.name,
        0.03,
        width=0.75,
        marks=marked(head + one.name, f"{field}.name", one.name),
    )
    sign = "×" if w.style.language == "zh" else "#"
    quantity = one.quantity + one.unit if w.style.language == "zh" else one.quantity
    w.row(name, Cell(sign + quantity, 0.97, "right", marks=(Mark(f"{field}.quantity", 1, 1 + len(quantity)),)))
    w.row(Cell(usage, 0.1, width=0.85), space=0.2)


def _table(w: Writer, number: int, one: Item) -> None:
    pack, usage = one.note.split("|")
    field = f"items.{number}"
    quantity = one.quantity + one.unit if w.style.language == "zh" else one.quantity
    parts = (
        (one.name, "name"),
        (pack, None),
        (quantity, "quantity"),
        (w.money(one.price, plain=True), "unit_price"),
        (w.money(one.amount, plain=True), "amount"),
    )
    cells = []
    for (text, key), (x, align) in zip(parts, TABLE, strict=True):
        cells.append(Cell(text, x, align, width=0.34 if x == 0 else 0.3, marks=marked(text, f"{field}.{key}" if key else None)))  # type: ignore[arg-type]
    w.row(*cells)
    w.row(Cell(usage, 0.04, width=0.9), space=0.15)


def _below(w: Writer, plan: Plan) -> None:
    """Doctor, those who checked and dispensed, the price, and the date if it did not stand above."""
    rng, language = w.rng, w.style.language
    text = w.money(plan.sums.total)
    entries: list[Entry] = []
    if rng.random() < 0.88:
        name = people.person(rng, language)
        entries.append((w.label("doctor"), name, (("doctor", name),)))
    if "total_amount" in plan.bare:
        w.row(Cell(text if w.style.symbol or w.style.unit else text, 1.0, "right", scale=1.3, marks=marked(text, "total_amount")))
    elif "total_amount" not in plan.missing:
        entries.insert(rng.randint(0, len(entries)), (w.label("rx_total"), text, (("total_amount", text),)))
    staff = rng.sample(range(len(STAFF[language])), rng.choice((0, 1, 2, 3)))
    entries += [(STAFF[language][number], people.person(rng, language), ()) for number in staff]
    day = people.written(plan.when, w.style.date)
    if not {"date"} & (plan.printed | plan.missing):
        if "date" in plan.bare:
            w.line(day, "date", like=Cell("", 1.0, "right"))
        else:
            entries.append((w.label("rx_date"), day, (("date", day),)))
    _in_columns(w, entries, rng.choice((2, 2, 3)) if language == "zh" else 2)
    if rng.random() < 0.3:
        later = plan.when + timedelta(minutes=rng.randint(1, 60), days=rng.choice((0, 0, 1)))
        day = people.written(later, w.style.date)
        w.pair(w.label("print_date"), f"{day} {later.strftime(w.style.time)}", (("print_date", day),))
        plan.printed.add("time")
    if rng.random() < 0.3:
        w.line("注：处方当日有效，药品发出不予退换。" if language == "zh" else "Valid for 7 days. Do not share medication.")


STAFF = {"zh": ("审核", "调配", "核对", "发药", "审核药师", "收费员"), "en": ("Dispensed by", "Checked by", "Pharmacist")}
