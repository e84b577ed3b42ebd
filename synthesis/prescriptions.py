"""Prescriptions: hospital, patient, diagnosis, drugs with dose and quantity, doctor, price of the drugs."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from synthesis import identities
from synthesis import lexicon_en as en
from synthesis import lexicon_zh as zh
from synthesis.document import Cell, Document, Language
from synthesis.document_state import Plan, choose_bare, finish
from synthesis.drugs import choose_drugs, write_drugs
from synthesis.line_items import Sums
from synthesis.writer import Entry, Writer, choose_style, marked

SEALS = ("收费专用章", "处方专用章", "药房已发药", "门诊收费章")
TITLES = {
    "zh": ("处 方 笺", "处方笺", "门诊处方", "普通处方", "门诊处方笺", "电子处方", "急诊处方笺"),
    "en": ("PRESCRIPTION", "Prescription", "Rx Order", "OUTPATIENT PRESCRIPTION"),
}
STAFF = {"zh": ("审核", "调配", "核对", "发药", "审核药师"), "en": ("Dispensed by", "Checked by", "Pharmacist")}
KINDS_OF_FEE = ("自费", "医保", "公费", "城镇职工医保")
NOTES = {"zh": "注：处方当日有效，药品发出不予退换。", "en": "Valid for 7 days. Do not share medication."}


def prescription(rng: random.Random, language: Language) -> Document:
    """Create a prescription; some have no price, date or patient's name, which are requested nevertheless."""
    drugs = choose_drugs(rng, language)
    total = sum(one.amount for one in drugs)
    chances = (("total_amount", 0.1), ("date", 0.04), ("patient", 0.03))
    missing = frozenset(key for key, chance in chances if rng.random() < chance)
    bare = choose_bare(rng) - missing
    sums = Sums(total, total=total, paid=total)
    plan = Plan("prescription", "prescription", identities.moment(rng), drugs, sums, bare, missing)
    colon = rng.choice(("：", ":", "：")) if language == "zh" else rng.choice((": ", ":"))
    style = replace(choose_style(rng, language), colon=colon, chars=rng.choice((48, 56, 64)), info="inline", rule="solid")
    w = Writer(rng, style, underlined=rng.random() < 0.25)
    for section in (_heading, _patient, write_drugs, _below):
        section(w, plan)
    return finish(w, plan, seal=rng.choice(SEALS) if language == "zh" and rng.random() < 0.3 else None)


def _heading(w: Writer, plan: Plan) -> None:
    rng, language = w.rng, w.style.language
    middle = Cell("", 0.5, "center")
    name, title = identities.hospital(rng, language), rng.choice(TITLES[language])
    if rng.random() < 0.15:
        w.line(title, like=middle, scale=1.5)
        w.pair(w.label("hospital"), name, (("hospital", name),))
    elif language == "zh" and rng.random() < 0.25:
        w.line(name + title.replace(" ", ""), "hospital", value=name, like=middle, scale=1.4, bold=rng.random() < 0.5)
    else:
        w.line(name, "hospital", like=middle, scale=rng.choice((1.3, 1.5, 1.7)), bold=rng.random() < 0.5)
        w.line(title, like=middle, scale=1.2)
    if rng.random() < (0.5 if language == "en" else 0.1):
        w.line(identities.address(rng, language), "address", like=middle)
    if rng.random() < 0.3:
        value = identities.phone(rng, language)
        w.line(w.label("clinic_phone") + w.style.colon + value, "phone", value=value, like=middle)


def _patient(w: Writer, plan: Plan) -> None:
    """Write the patient's details in rows of two or three, with the date or without."""
    rng = w.rng
    entries = _details(w, plan)
    day = identities.written(plan.when, w.style.date)
    if rng.random() < 0.65 and "date" not in plan.missing:
        plan.printed.add("date")
        if "date" in plan.bare:
            w.line(day, "date", like=Cell("", 1.0, "right"))
        else:
            entries.insert(rng.choice((0, len(entries), len(entries))), (w.label("rx_date"), day, (("date", day),)))
    if rng.random() < 0.5:
        w.rule()
    w.table_of(entries, rng.choice((2, 3, 3)) if w.style.language == "zh" else 2)
    if rng.random() < 0.85:
        value = rng.choice((zh if w.style.language == "zh" else en).DIAGNOSES)
        w.pair(w.label("diagnosis"), value, (("diagnosis", value),))
    w.rule()


def _details(w: Writer, plan: Plan) -> list[Entry]:
    rng, language = w.rng, w.style.language
    years = rng.randint(1, 88)
    born = datetime(plan.when.year - years, rng.randint(1, 12), rng.randint(1, 28))
    gender = rng.choice(("男", "女")) if language == "zh" else rng.choice(("M", "F", "Male", "Female"))
    age = f"{years}{rng.choice(('岁', '', '岁'))}" if language == "zh" else f"{years}{rng.choice(('', ' yrs', 'y'))}"
    departments = (zh if language == "zh" else en).DEPARTMENTS
    options: tuple[tuple[str, str, bool, float], ...] = (
        ("patient", identities.person(rng, language), True, 0.0 if "patient" in plan.missing else 1.0),
        ("gender", gender, True, 0.9),
        ("age", age, True, 0.9),
        ("department", rng.choice(departments), True, 0.75),
        ("record", f"{rng.randint(10**6, 10**9)}", False, 0.6),
        ("prescription_number", identities.serial(rng, plan.when), True, 0.4),
        ("birth_date", identities.written(born, w.style.date), True, 0.12),
    )
    entries: list[Entry] = [
        (w.label(key), value, ((key, value),) if asked else ()) for key, value, asked, chance in options if rng.random() < chance
    ]
    if language == "zh" and rng.random() < 0.4:
        entries.append(("费别", rng.choice(KINDS_OF_FEE), ()))
    return entries


def _below(w: Writer, plan: Plan) -> None:
    """Write the doctor, the pharmacists, the price, and the date if it was not printed above."""
    rng, language = w.rng, w.style.language
    text, day = w.money(plan.sums.total), identities.written(plan.when, w.style.date)
    entries: list[Entry] = []
    if rng.random() < 0.88:
        name = identities.person(rng, language)
        entries.append((w.label("doctor"), name, (("doctor", name),)))
    if "total_amount" in plan.bare:
        w.row(Cell(text, 1.0, "right", scale=1.3, marks=marked(text, "total_amount")))
    elif "total_amount" not in plan.missing:
        entries.insert(rng.randint(0, len(entries)), (w.label("rx_total"), text, (("total_amount", text),)))
    staff = rng.sample(STAFF[language], rng.choice((0, 1, 2, 3)))
    entries += [(label, identities.person(rng, language), ()) for label in staff]
    if not {"date"} & (plan.printed | plan.missing):
        if "date" in plan.bare:
            w.line(day, "date", like=Cell("", 1.0, "right"))
        else:
            entries.append((w.label("rx_date"), day, (("date", day),)))
    w.table_of(entries, rng.choice((2, 2, 3)) if language == "zh" else 2)
    if rng.random() < 0.3 and not {"date"} & (plan.bare | plan.missing):
        later = plan.when + timedelta(minutes=rng.randint(1, 60), days=rng.choice((0, 0, 1)))
        day = identities.written(later, w.style.date)
        w.pair(w.label("print_date"), f"{day} {later.strftime(w.style.time)}", (("print_date", day),))
        plan.printed.add("time")
    if rng.random() < 0.3:
        w.line(NOTES[language])
