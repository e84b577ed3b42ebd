"""Document i of a seed: the same content whatever else is made."""

from __future__ import annotations

import random

from training.model import Document, Language
from training.prescriptions import prescription
from training.receipts import receipt


def document(rng: random.Random, language: Language | None = None) -> Document:
    """A receipt (three in four) or a prescription; Chinese (two in three) or English unless `language` says."""
    chosen: Language = "zh" if rng.random() < 2 / 3 else "en"
    maker = receipt if rng.random() < 0.75 else prescription
    return maker(rng, language or chosen)
