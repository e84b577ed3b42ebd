"""The sums below the items, and the payment: the requested total among other amounts."""

from __future__ import annotations

from synthesis.document import Align, Cell
from synthesis.document_state import Plan
from synthesis.itemrows import COLUMNS
from synthesis.line_items import in_words
from synthesis.writer import Place, Writer, marked

PAID_WORDS = ("付", "Pay", "Paid", "PAY", "收", "买单")  # labels of a total that is also the payment
REQUESTED = frozenset({"discount", "tax_amount"})  # other adjustments are printed, but not requested


def sums(w: Writer, plan: Plan) -> None:
    """Write number of pieces, subtotal, discount, service, tax, rounding and total."""
    if "total_amount" in plan.missing:
        return
    rng, s = w.rng, plan.sums
    adjustments = (
        ("discount", -s.discount),
        ("service", s.service),
        ("fee", s.fee),
        ("tax_amount", s.tax),
        ("rounding", -s.rounding),
    )
    adjusted = any(cents for _, cents in adjustments)
    joint = "total_amount" not in plan.bare and not adjusted and rng.random() < 0.25
    if not joint and rng.random() < 0.25:
        w.pair(w.label("pieces"), str(len(plan.items)), place=_flat(w))
    if adjusted or rng.random() < 0.15:
        _amount(w, "subtotal", s.items)
    for name, cents in adjustments:
        if cents:
            _amount(w, name, cents, requested=name in REQUESTED)
            plan.printed.add(name)
    if joint:
        _joint_total(w, plan)
    else:
        total(w, plan)
    _echoes(w, plan)


def _flat(w: Writer) -> Place:
    return "inline" if w.style.sums == "above" else w.style.sums


def _total_label(w: Writer, plan: Plan) -> str:
    label = w.label("total_amount")
    if any(word in label for word in PAID_WORDS):
        plan.printed.add("paid_amount")
    if "Balance" in label:
        plan.printed.add("balance")
    return label


def _joint_total(w: Writer, plan: Plan) -> None:
    """Write quantity and total in one row: below the columns of the items, or as two pairs."""
    text, pieces, label = w.money(plan.sums.total), str(len(plan.items)), _total_label(w, plan)
    marks = marked(text, "total_amount")
    if plan.columns:
        w.row(Cell(label), Cell(pieces, COLUMNS[1], "right"), Cell(text, 1.0, "right", marks=marks))
    else:
        w.row(w.run(w.label("pieces"), pieces), w.run(label, text, (("total_amount", text),), x=0.48))
    w.rule()


def total(w: Writer, plan: Plan) -> None:
    """Write the total: labelled, or alone and larger, so that a person recognises it."""
    rng, text = w.rng, w.money(plan.sums.total)
    scale, bold = rng.choice((1.0, 1.0, 1.2, 1.4, 1.6)), rng.random() < 0.4
    if "total_amount" in plan.bare:
        places: tuple[tuple[float, Align], ...] = ((1.0, "right"), (1.0, "right"), (0.5, "center"))
        x, align = rng.choice(places)
        w.row(Cell(text, x, align, scale=max(scale, 1.3), bold=bold, marks=marked(text, "total_amount")))
    else:
        w.pair(_total_label(w, plan), text, (("total_amount", text),), place=w.style.sums, scale=scale, bold=bold)
    if rng.random() < 0.4:
        w.rule()


def _echoes(w: Writer, plan: Plan) -> None:
    """Write amounts near the total: the amount in words, savings, a suggested tip."""
    rng, s = w.rng, plan.sums
    if w.style.language == "zh" and rng.random() < 0.07:
        w.pair(w.label("in_words"), in_words(s.total), place="inline")
    if s.discount and rng.random() < 0.25:
        w.pair(w.label("saved"), w.money(s.discount), place=_flat(w))
    if w.style.language == "en" and plan.variant == "restaurant" and rng.random() < 0.15:
        w.pair(w.label("tip"), w.money(s.total * 15 // 100), place=_flat(w))


def _amount(w: Writer, name: str, cents: int, *, requested: bool = True) -> None:
    text = w.money(cents, plain=w.style.language == "zh" and not w.style.unit)
    w.pair(w.label(name), text, ((name, text),) if requested else (), place=w.style.sums)


def payment(w: Writer, plan: Plan) -> None:
    """Write payment and change, by cash or card; points and balance of a member's card."""
    rng, s = w.rng, plan.sums
    if "total_amount" in plan.missing:
        return
    if s.change or rng.random() < 0.4:
        if rng.random() < 0.85:
            _amount(w, "paid_amount", s.paid)
            if s.change or rng.random() < 0.6:
                _amount(w, "change", s.change)
            plan.printed.add("change")
    elif rng.random() < 0.6:
        name = w.label("paid_card")
        if rng.random() < 0.3:
            w.pair(w.label("payment_method"), name, (("payment_method", name),))
        else:
            w.pair(name, w.money(s.total, plain=True), place=w.style.sums)
        if rng.random() < 0.2:
            w.line(f"************{rng.randint(0, 9999):04d}")
        plan.printed |= {"payment_method", "paid_amount"}
    if rng.random() < 0.15:
        _amount(w, "balance", rng.randint(100, 90000))
    if rng.random() < 0.12:
        w.pair(w.label("points"), str(rng.randint(1, 3000)))
        plan.printed.add("balance")
