"""Invoices: seller and buyer, number and date, line items, net amount, tax and a total that adds up."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from synthesis import identities
from synthesis.document import Cell, Document, Language
from synthesis.document_state import Plan, finish
from synthesis.itemrows import write_items
from synthesis.line_items import Sums, basket, in_words
from synthesis.writer import Entry, Place, Writer, choose_style

TITLES = {
    "zh": ("增值税普通发票", "电子发票（普通发票）", "销售发票", "发 票", "增值税电子普通发票"),
    "en": ("INVOICE", "TAX INVOICE", "Tax Invoice", "Sales Invoice", "COMMERCIAL INVOICE"),
}
RATES = {"zh": (0.01, 0.03, 0.06, 0.09, 0.13), "en": (0.0, 0.06, 0.08, 0.2)}
SEALS = ("发票专用章", "财务专用章")


def invoice(rng: random.Random, language: Language) -> Document:
    """Create an invoice; some have no buyer or no date, which are requested nevertheless."""
    variant = rng.choice(("retail", "supermarket", "pharmacy"))
    items = basket(rng, language, variant)
    net = sum(one.amount for one in items)
    tax = round(net * rng.choice(RATES[language]))
    missing = frozenset(key for key, chance in (("date", 0.04), ("buyer", 0.08)) if rng.random() < chance)
    sums = Sums(net, tax=tax, total=net + tax, paid=net + tax)
    plan = Plan("invoice", "invoice", identities.moment(rng), items, sums, frozenset(), missing)
    colon = rng.choice(("：", ":", "：")) if language == "zh" else rng.choice((": ", ":"))
    style = replace(choose_style(rng, language), colon=colon, chars=rng.choice((56, 64, 72)), info="inline", rule="solid")
    writer = Writer(rng, style)
    for section in (_heading, _parties, write_items, _sums, _below):
        section(writer, plan)
    return finish(writer, plan, seal=rng.choice(SEALS) if language == "zh" and rng.random() < 0.4 else None)


def _heading(w: Writer, plan: Plan) -> None:
    """Write the title, the number, in China sometimes a code, and the date."""
    rng, language = w.rng, w.style.language
    w.line(rng.choice(TITLES[language]), like=Cell("", 0.5, "center"), scale=rng.choice((1.3, 1.6)), bold=rng.random() < 0.5)
    number = f"{rng.randint(10**7, 10**8 - 1)}" if language == "zh" else f"INV-{rng.randint(1000, 99999)}"
    entries: list[Entry] = [(w.label("invoice_number"), number, (("invoice_number", number),))]
    if language == "zh" and rng.random() < 0.5:
        code = f"0{rng.randint(10**10, 10**11 - 1)}"
        entries.insert(0, (w.label("invoice_code"), code, (("invoice_code", code),)))
    if "date" not in plan.missing:
        day = identities.written(plan.when, w.style.date)
        entries.append((w.label("invoice_date"), day, (("date", day),)))
        if language == "en" and rng.random() < 0.4:
            due = identities.written(plan.when + timedelta(days=rng.choice((7, 14, 30))), w.style.date)
            entries.append((w.label("due_date"), due, (("due_date", due),)))
    w.table_of(entries, 2)
    w.rule()


def _parties(w: Writer, plan: Plan) -> None:
    """Write seller and buyer with their details; tax and phone numbers are ambiguous, so they are not requested."""
    rng, language = w.rng, w.style.language
    parties = [("seller", identities.shop(rng, language, "retail"))]
    if "buyer" not in plan.missing:
        name = identities.person(rng, language) if rng.random() < 0.3 else identities.shop(rng, language, "supermarket")
        parties.append(("buyer", name))
    if rng.random() < 0.5:
        parties.reverse()
    for key, name in parties:
        w.pair(w.label(key), name, ((key, name),), place="inline")
        if rng.random() < 0.6:
            w.pair(w.label("tax_number"), identities.tax_number(rng, language), place="inline")
            plan.printed.add("tax_number")
        if rng.random() < 0.4:
            w.pair(w.label("address"), identities.address(rng, language), place="inline")
            plan.printed.add("address")
    w.rule()


def _sums(w: Writer, plan: Plan) -> None:
    """Write net amount, tax and total; without tax only the total."""
    s = plan.sums
    place: Place = "apart" if w.rng.random() < 0.5 else "inline"
    if s.tax:
        for label, key, cents in (("net", "subtotal", s.items), ("invoice_tax", "tax_amount", s.tax)):
            text = w.money(cents)
            w.pair(w.label(label), text, ((key, text),), place=place)
    text = w.money(s.total)
    w.pair(
        w.label("invoice_total"),
        text,
        (("total_amount", text),),
        place=place,
        scale=w.rng.choice((1.0, 1.2)),
        bold=w.rng.random() < 0.4,
    )
    if w.style.language == "zh" and w.rng.random() < 0.6:
        w.pair(w.label("in_words"), in_words(s.total), place="inline")


def _below(w: Writer, plan: Plan) -> None:
    """Write the issuer, and a code to scan."""
    rng, language = w.rng, w.style.language
    w.rule()
    if language == "zh":
        roles = rng.sample(("收款人", "复核", "开票人"), rng.choice((1, 2, 3)))
        w.table_of([(role, identities.person(rng, language), ()) for role in roles], 3)
        plan.printed.add("cashier")
    elif rng.random() < 0.6:
        w.row(Cell("Payment terms: bank transfer within 14 days"))
        plan.printed |= {"payment_method", "due_date"}
    if rng.random() < 0.3:
        w.art("qr", space=0.3)
