"""Receipts: values that are requested, and decoys that must not be confused with them."""

from __future__ import annotations

import random
from datetime import timedelta

from synthesis import identities
from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Align, Cell, Document, Language
from synthesis.document_state import Plan, choose_bare, finish
from synthesis.itemrows import write_items
from synthesis.line_items import add_up, basket
from synthesis.totals import payment, sums
from synthesis.writer import Entry, Writer, choose_style, marked

VARIANTS = ("supermarket", "restaurant", "pharmacy", "convenience", "retail")


def receipt(rng: random.Random, language: Language) -> Document:
    """Create a receipt. Some have no date or shop name; a kitchen slip has no prices and no total."""
    variant = rng.choices(VARIANTS, (30, 25, 15, 18, 12))[0]
    items = basket(rng, language, variant)
    chances = (("date", 0.04), ("merchant", 0.04), ("total_amount", 0.12 if variant == "restaurant" else 0.0))
    missing = frozenset(key for key, chance in chances if rng.random() < chance)
    bare = choose_bare(rng) - missing
    plan = Plan("receipt", variant, identities.moment(rng), items, add_up(rng, language, variant, items), bare, missing)
    writer = Writer(rng, choose_style(rng, language))
    for section in (heading, particulars, write_items, sums, payment, foot):
        section(writer, plan)
    return finish(writer, plan)


def heading(w: Writer, plan: Plan) -> None:
    """Write titles, the shop's name as a heading or a labelled line, its address and phone number."""
    rng, language = w.rng, w.style.language
    middle = Cell("", 0.5, "center") if rng.random() < 0.75 else Cell("")
    titles = (zh if language == "zh" else en).TITLES[plan.variant]
    title = rng.choice(titles) if rng.random() < 0.5 else ""
    above = rng.random() < 0.35
    if plan.variant == "restaurant" and rng.random() < 0.12:
        call = f"{rng.choice('ABCT')}{rng.randint(1, 199):03d}"
        w.line((rng.choice(("取餐号 ", "#", "叫号: ")) if language == "zh" else "Order ") + call, like=middle, scale=1.6)
        plan.printed.add("order_number")
    if title and above:
        w.line(title, like=middle, scale=rng.choice((1.0, 1.3)))
    if "merchant" not in plan.missing:
        name = identities.shop(rng, language, plan.variant)
        if rng.random() < 0.8:
            w.line(name, "merchant", like=middle, scale=rng.choice((1.0, 1.2, 1.4, 1.6)), bold=rng.random() < 0.4)
        else:
            w.pair(w.label("merchant"), name, (("merchant", name),), place="inline")
    if title and not above:
        w.line(title, like=middle)
    _whereabouts(w, middle)
    if rng.random() < 0.7:
        w.rule()


def _whereabouts(w: Writer, middle: Cell) -> None:
    rng, language = w.rng, w.style.language
    for name, make, chance in (("address", identities.address, 0.4), ("phone", identities.phone, 0.45)):
        if rng.random() < chance:
            value = make(rng, language)
            text = w.label(name) + w.style.colon + value if rng.random() < 0.75 else value
            w.line(text, name, value=value, like=middle)
    if rng.random() < 0.15:
        number = identities.tax_number(rng, language)
        w.line(w.label("tax_number") + w.style.colon + number, "tax_number", value=number, like=middle)


def particulars(w: Writer, plan: Plan) -> None:
    """Write number, cashier, register, date … in any order, one or two per row."""
    rng = w.rng
    number = rng.choice(("receipt_number", "receipt_number", "order_number"))
    options = (
        (number, identities.serial(rng, plan.when), True, 0.65),
        ("cashier", identities.clerk(rng, w.style.language), True, 0.5),
        ("till", f"{rng.randint(1, 60):02d}", False, 0.35),
        ("member", f"{rng.randint(1000, 9999)}****{rng.randint(0, 9999):04d}", False, 0.12),
    )
    entries: list[Entry] = [
        (w.label(key), value, ((key, value),) if asked else ()) for key, value, asked, chance in options if rng.random() < chance
    ]
    if plan.variant == "restaurant" and rng.random() < 0.4:
        earlier = plan.when - timedelta(minutes=rng.randint(8, 90))
        full = "date" not in plan.missing and rng.random() < 0.5
        entries.append((w.label("order_time"), identities.written(earlier, f"{w.style.date} %H:%M" if full else "%H:%M"), ()))
        plan.printed.add("time")
    if not {"date"} & (plan.missing | plan.bare):
        entries += _dated(w, plan)
    rng.shuffle(entries)
    if "date" in plan.bare and rng.random() < 0.6:
        bare_date(w, plan)
    _write(w, entries)
    if entries and rng.random() < 0.7:
        w.rule()


def _write(w: Writer, entries: list[Entry]) -> None:
    """Write one entry per row, or two short ones with label and value in one run."""
    two = w.rng.random() < 0.35
    while entries:
        label, value, fields = entries.pop(0)
        if two and entries and len(label + value) < 18 and len(entries[0][0] + entries[0][1]) < 18:
            other = entries.pop(0)
            w.row(w.run(label, value, fields), w.run(*other, x=0.52))
        else:
            w.pair(label, value, fields)


def _dated(w: Writer, plan: Plan) -> list[Entry]:
    """Return date and time in one entry, in two entries, or the date only."""
    rng = w.rng
    day, hour = identities.written(plan.when, w.style.date), plan.when.strftime(w.style.time)
    roll = rng.random()
    if roll < 0.6:
        return [(w.label("date"), _joined(w, day, hour), (("date", day), ("time", hour)))]
    dated: list[Entry] = [(w.label("day"), day, (("date", day),))]
    if roll < 0.8:
        dated.append((w.label("time"), hour, (("time", hour),)))
    return dated


def _joined(w: Writer, day: str, hour: str) -> str:
    return f"{hour} {day}" if w.style.thousands and w.style.language == "en" else f"{day} {hour}"


def bare_date(w: Writer, plan: Plan) -> None:
    """Write the date without a label, with or without the time."""
    day, hour = identities.written(plan.when, w.style.date), plan.when.strftime(w.style.time)
    text = day
    if w.rng.random() < 0.7:
        text = _joined(w, day, hour)
    marks = marked(text, "date", day) + (marked(text, "time", hour) if text != day else ())
    places: tuple[tuple[float, Align], ...] = ((0.0, "left"), (0.5, "center"), (1.0, "right"))
    x, align = w.rng.choice(places)
    w.row(Cell(text, x, align, marks=marks))
    plan.printed.add("date")


def foot(w: Writer, plan: Plan) -> None:
    """Write an unlabelled date if it was not printed above, the print date, a service number, thanks, a code to scan."""
    rng, language = w.rng, w.style.language
    words = zh if language == "zh" else en
    if "date" in plan.bare and "date" not in plan.printed:
        bare_date(w, plan)
    if rng.random() < 0.2 and not {"date"} & (plan.bare | plan.missing):
        later = plan.when + timedelta(days=rng.choice((0, 0, 1, 3)), minutes=rng.randint(1, 50))
        day = identities.written(later, w.style.date)
        w.pair(w.label("print_date"), f"{day} {later.strftime(w.style.time)}", (("print_date", day),), place="inline")
        plan.printed.add("time")
    middle = Cell("", 0.5, "center")
    for text in rng.sample(words.GREETINGS, rng.choice((0, 1, 1, 2, 3))):
        w.line(text, like=middle)
    if rng.random() < 0.25:
        w.art(rng.choice(("qr", "barcode")), space=0.3)
    if rng.random() < 0.15:
        form = rng.choice(words.SOFTWARE)
        maker = {
            "a": rng.choice(words.STEMS_A),
            "b": rng.choice(words.STEMS_B),
            "n": rng.randint(100, 999),
            "m": rng.randint(1000, 9999),
        }
        w.line(form.format(**maker), like=middle)
        plan.printed.add("phone")
