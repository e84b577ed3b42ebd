"""Parcel labels: courier, tracking number with its bar code, sender and recipient, weight, postage."""

from __future__ import annotations

import random
from dataclasses import replace

from synthesis import identities
from synthesis.document import Cell, Document, Language
from synthesis.document_state import Plan, finish
from synthesis.line_items import Sums, item
from synthesis.writer import Entry, Writer, choose_style

COURIERS = {
    "zh": ("迅达速运", "捷风快递", "万里通物流", "山海快运", "飞鸽速递", "邻里快递"),
    "en": ("SwiftPost", "BlueLine Express", "Harbour Couriers", "ParcelHub", "NorthStar Logistics"),
}
SERVICES = {"zh": ("标准快递", "次日达", "特快专递", "经济件"), "en": ("EXPRESS", "STANDARD", "NEXT DAY", "ECONOMY")}


def parcel(rng: random.Random, language: Language) -> Document:
    """Create a label. The postage is the only amount, so there is no total; some lack date, weight or postage."""
    chances = (("date", 0.25), ("weight", 0.3), ("shipping_fee", 0.5), ("sender", 0.06))
    missing = frozenset(key for key, chance in chances if rng.random() < chance)
    fee = rng.randint(6, 60) * 100
    plan = Plan("parcel", "parcel", identities.moment(rng), (), Sums(0, total=fee, paid=fee), frozenset(), missing)
    colon = rng.choice(("：", ":")) if language == "zh" else rng.choice((": ", ":"))
    style = replace(choose_style(rng, language), colon=colon, chars=rng.choice((38, 42, 48)), info="inline", rule="solid")
    writer = Writer(rng, style)
    for section in (_heading, _people, _details):
        section(writer, plan)
    done = finish(writer, plan)
    return replace(done, cents={})  # a single amount has no sum


def _heading(w: Writer, plan: Plan) -> None:
    """Write courier and service, and the number below its bar code or next to a label."""
    rng, language = w.rng, w.style.language
    name = rng.choice(COURIERS[language])
    w.line(name, "courier", scale=rng.choice((1.3, 1.6)), bold=rng.random() < 0.6)
    if rng.random() < 0.6:
        w.line(rng.choice(SERVICES[language]), like=Cell("", 1.0, "right"), scale=1.2)
    w.rule()
    number = f"{rng.choice(('SF', 'JT', 'YT', 'ZX', 'BL', ''))}{rng.randint(10**11, 10**13)}"
    w.art("barcode", space=0.2)
    if rng.random() < 0.5:
        w.line(number, "tracking_number", like=Cell("", 0.5, "center"), scale=1.2)
    else:
        w.pair(w.label("tracking_number"), number, (("tracking_number", number),), place="inline")
    w.rule()


def _people(w: Writer, plan: Plan) -> None:
    """Write the recipient first and larger, as on real labels; sometimes the sender first."""
    parties = ["recipient", "sender"]
    if w.rng.random() < 0.3:
        parties.reverse()
    for who in parties:
        if who not in plan.missing:
            _party(w, who)
            w.rule()


def _party(w: Writer, who: str) -> None:
    rng, language = w.rng, w.style.language
    scale = 1.2 if who == "recipient" and rng.random() < 0.5 else 1.0
    name, phone, address = identities.person(rng, language), identities.phone(rng, language), identities.address(rng, language)
    if rng.random() < 0.5:
        w.pair(w.label(who), f"{name}  {phone}", ((who, name), (f"{who}_phone", phone)), scale=scale)
        w.line(address, f"{who}_address")
        return
    w.pair(w.label(who), name, ((who, name),), scale=scale)
    w.pair(w.label("parcel_phone"), phone, ((f"{who}_phone", phone),))
    w.pair(w.label("parcel_address"), address, ((f"{who}_address", address),))


def _details(w: Writer, plan: Plan) -> None:
    """Write weight, postage, date and contents."""
    rng = w.rng
    weight, day = f"{rng.randint(1, 30)}.{rng.randint(0, 9)}kg", identities.written(plan.when, w.style.date)
    fee, inside = w.money(plan.sums.total), item(rng, w.style.language, "retail").name
    options = (("weight", "weight", weight), ("shipping_fee", "shipping_fee", fee), ("shipped", "date", day))
    entries: list[Entry] = [
        (w.label(label), value, ((name, value),)) for label, name, value in options if name not in plan.missing
    ]
    if rng.random() < 0.5:
        entries.append((w.label("remarks"), inside, (("remarks", inside),)))
    rng.shuffle(entries)
    w.table_of(entries, 2)
    if rng.random() < 0.3:
        w.art("qr", space=0.3)
