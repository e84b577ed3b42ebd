"""Pages to train on: generated ones as the recogniser would read them, with questions and the candidates that answer these."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.fields.layout import Layout
from hunyuanocr.fields.ranking.candidates import find_candidates
from hunyuanocr.fields.ranking.features import PageFeatures, page_features
from hunyuanocr.fields.rules.label_words import page_languages
from hunyuanocr.types import FieldSpec, Line
from synthesis.ranker.papers import form, invoice, plain_text, results
from synthesis.ranker.questions import Question, questions
from synthesis.ranker.reading import as_read
from synthesis.ranker.receipts import receipt
from synthesis.ranker.sheet import Sheet

_KINDS: Mapping[Callable[[Sheet], None], float] = {receipt: 6, invoice: 3, form: 3, results: 2, plain_text: 0.7}  # with weights
_MAX_CANDIDATES = 280


@dataclass(frozen=True)
class Example:
    """A page with questions. `targets` [asked, candidates + 1]: 1 for what is right; the last column is "none"."""

    features: PageFeatures
    targets: NDArray[np.float32]


def generated(rng: random.Random) -> Example:
    """Return a generated page with at least one question."""
    while True:
        sheet = Sheet(rng)
        fill = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
        fill(sheet)
        lines, moved = as_read(sheet)
        example = make_example(lines, questions(sheet, moved))
        if example is not None:
            return example


def make_example(lines: Sequence[Line], asked: Sequence[Question]) -> Example | None:
    """Return the example of these lines; None if nothing can be asked, or if there are too many candidates to train on.

    Questions are left out whose answer is printed but not among the candidates.
    """
    around = find_candidates(Layout(lines))
    if around is None or not 0 < len(around.candidates) <= _MAX_CANDIDATES:
        return None
    kept: list[FieldSpec] = []
    targets: list[NDArray[np.float32]] = []
    for question in asked:
        hits = [n for n, c in enumerate(around.candidates) if question.answers is not None and question.answers(c)]
        if question.answers is None or hits:
            row = np.zeros(len(around.candidates) + 1, np.float32)
            row[hits or [-1]] = 1
            kept.append(question.spec)
            targets.append(row)
    if not kept:
        return None
    return Example(page_features(around, kept, page_languages(line.text for line in lines)), np.stack(targets))
