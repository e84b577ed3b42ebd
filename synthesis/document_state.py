"""The state of a document during generation: its content, what has been printed, and its ground truth."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from synthesis.document import Document, Kind
from synthesis.line_items import Item, Sums
from synthesis.writer import Writer, truth

# Fields that are requested although they are not printed. A field with a similar printed one (a receipt's number and an order's)
# is not requested, because it would be ambiguous for a person as well.
ABSENT: Mapping[str, tuple[str, ...]] = {
    "receipt": (
        "phone", "address", "tax_number", "invoice_number", "order_number", "receipt_number", "cashier", "discount", "tax_amount",
        "change", "paid_amount", "balance", "payment_method", "patient", "doctor", "hospital", "department", "due_date",
        "tracking_number", "buyer", "gender", "age", "diagnosis", "print_date", "time", "recipient", "id_number", "nationality",
    ),
    "prescription": (
        "phone", "address", "tax_number", "invoice_number", "order_number", "cashier", "discount", "change", "paid_amount",
        "balance", "payment_method", "due_date", "tracking_number", "recipient", "doctor", "department", "diagnosis", "gender",
        "age", "birth_date", "prescription_number", "print_date", "time", "nationality", "sender",
    ),
    "invoice": (
        "invoice_code", "due_date", "receipt_number", "order_number", "cashier", "discount", "change", "paid_amount", "balance",
        "payment_method", "tracking_number", "patient", "doctor", "hospital", "department", "gender", "age", "time", "recipient",
        "nationality", "points", "diagnosis", "sender", "print_date",
    ),
    "parcel": (
        "total_amount", "tax_number", "invoice_number", "cashier", "discount", "change", "paid_amount", "balance", "subtotal",
        "patient", "doctor", "hospital", "gender", "age", "time", "due_date", "tax_amount", "points", "merchant", "nationality",
        "weight", "shipping_fee", "date", "remarks",
    ),
}  # fmt: skip
NEIGHBOURS = (
    {"invoice_number", "order_number", "receipt_number", "prescription_number"},
    {"subtotal", "total_amount"},
    {"payment_method", "paid_amount"},
    {"hospital", "merchant"},
    {"birth_date", "age"},
    {"seller", "merchant", "sender"},
    {"total_amount", "shipping_fee"},
    {"invoice_code", "invoice_number"},
    {"points", "balance"},
)


@dataclass
class Plan:
    """`bare` fields are printed without a label, `missing` ones not at all; decoys are added to `printed`."""

    kind: Kind
    variant: str
    when: datetime
    items: tuple[Item, ...]
    sums: Sums
    bare: frozenset[str]
    missing: frozenset[str]
    printed: set[str] = field(default_factory=set)
    columns: bool = False  # whether the items are in columns


def choose_bare(rng: random.Random, total: str = "total_amount") -> frozenset[str]:
    """Choose the fields without a label: in a third of documents the total, the date or both."""
    return frozenset(rng.choice(((total,), ("date",), (total, "date")))) if rng.random() < 1 / 3 else frozenset()


def finish(w: Writer, plan: Plan, seal: str | None = None) -> Document:
    """Return the document with its ground truth: the marked values, and some fields that are not printed."""
    fields, items = truth(w.rows)
    taken = plan.printed | fields.keys()
    for group in NEIGHBOURS:
        taken |= group if group & taken else set()
    pool = ABSENT[plan.kind]
    fields |= dict.fromkeys(name for name in w.rng.sample(pool, w.rng.randint(7, 12)) if name not in taken)
    fields |= dict.fromkeys(plan.missing)
    cents = {} if "total_amount" in plan.missing else asdict(plan.sums)
    bare = tuple(sorted(plan.bare))
    return Document(
        plan.kind, plan.variant, w.style.language, w.style.chars, tuple(w.rows), fields, tuple(items), bare, cents, seal
    )
