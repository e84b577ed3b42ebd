"""The sums below the items and the payment: the total that is asked for, among amounts that are not it."""

from __future__ import annotations

from training.model import Cell
from training.plan import Plan
from training.writer import Writer, marked

PAID_WORDS = ("付", "Pay", "Paid", "PAY", "收")  # a total with such a name is itself what was paid


def sums(w: Writer, plan: Plan) -> None:
    """Count of pieces, subtotal, discount, service, tax, rounding, total."""
    if "total_amount" in plan.missing:
        return
    rng, s = w.rng, plan.sums
    if rng.random() < 0.25:
        text = str(len(plan.items))
        w.pair(w.label("pieces"), text, place=w.style.sums if w.style.sums != "above" else "inline")
    adjusted = s.discount or s.service or s.tax
    if adjusted or rng.random() < 0.15:
        _amount(w, "subtotal", s.items)
    for name, cents in (("discount", -s.discount), ("service", s.service), ("tax_amount", s.tax), ("rounding", -s.rounding)):
        if cents:
            _amount(w, name, cents, marked_=name in {"discount", "tax_amount"})
            plan.printed.add(name)
    total(w, plan)


def total(w: Writer, plan: Plan) -> None:
    """The total: labelled, or alone and larger where a person would still see it."""
    rng, text = w.rng, w.money(plan.sums.total)
    scale, bold = rng.choice((1.0, 1.0, 1.2, 1.4, 1.6)), rng.random() < 0.4
    if "total_amount" in plan.bare:
        x, align = rng.choice(((1.0, "right"), (1.0, "right"), (0.5, "center")))
        w.row(Cell(text, x, align, scale=max(scale, 1.3), bold=bold, marks=marked(text, "total_amount")))  # type: ignore[arg-type]
    else:
        label = w.label("total_amount")
        if any(word in label for word in PAID_WORDS):
            plan.printed |= {"paid_amount"}
        if "Balance" in label:
            plan.printed |= {"balance"}
        w.pair(label, text, (("total_amount", text),), place=w.style.sums, scale=scale, bold=bold)
    if rng.random() < 0.4:
        w.rule()


def _amount(w: Writer, name: str, cents: int, *, marked_: bool = True, symbol: bool | None = None) -> None:
    plain = w.style.language == "zh" if symbol is None else not symbol
    text = w.money(cents, plain=plain)
    w.pair(w.label(name), text, ((name, text),) if marked_ else (), place=w.style.sums)


def payment(w: Writer, plan: Plan) -> None:
    """What was given and given back, by cash or by card; points and balance of a member's card."""
    rng, s = w.rng, plan.sums
    if "total_amount" in plan.missing:
        return
    if s.change or rng.random() < 0.4:
        if rng.random() < 0.85:
            _amount(w, "paid_amount", s.paid)
            if s.change or rng.random() < 0.6:
                _amount(w, "change", s.change)
            plan.printed |= {"change"}
    elif rng.random() < 0.6:
        name = w.label("paid_card")
        if rng.random() < 0.3:
            w.pair(w.label("payment_method"), name, (("payment_method", name),))
        else:
            w.pair(name, w.money(s.total, plain=True), place=w.style.sums)
        plan.printed |= {"payment_method", "paid_amount"}
    if rng.random() < 0.15:
        _amount(w, "balance", rng.randint(100, 90000))
    if rng.random() < 0.12:
        w.pair(w.label("points"), str(rng.randint(1, 3000)))
        plan.printed |= {"balance"}
