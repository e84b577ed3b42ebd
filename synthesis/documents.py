"""The choice of the kind of document."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from synthesis.card_slips import slip
from synthesis.document import Document, Language
from synthesis.invoices import invoice
from synthesis.parcels import parcel
from synthesis.prescriptions import prescription
from synthesis.receipts import receipt

MAKERS: Mapping[str, Callable[[random.Random, Language], Document]] = {
    "receipt": receipt,
    "prescription": prescription,
    "slip": slip,
    "invoice": invoice,
    "parcel": parcel,
}


def document(rng: random.Random, language: Language | None = None, kind: str | None = None) -> Document:
    """Create a document of `kind`; by default a receipt, a prescription (one in four) or a card slip.

    Chinese (two in three) or English unless `language` is set.
    """
    chosen: Language = "zh" if rng.random() < 2 / 3 else "en"
    usual = rng.choices((receipt, prescription, slip), (68, 25, 7))[0]
    return (MAKERS[kind] if kind else usual)(rng, language or chosen)
