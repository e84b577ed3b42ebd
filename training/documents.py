"""What kind of document comes next."""

from __future__ import annotations

import random

from training.model import Document, Language
from training.prescriptions import prescription
from training.receipts import receipt
from training.slips import slip


def document(rng: random.Random, language: Language | None = None) -> Document:
    """A receipt, a prescription (one in four) or a card slip; Chinese (two in three) or English unless `language` says."""
    chosen: Language = "zh" if rng.random() < 2 / 3 else "en"
    maker = rng.choices((receipt, prescription, slip), (68, 25, 7))[0]
    return maker(rng, language or chosen)
