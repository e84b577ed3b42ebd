"""Rank the values of a page for each asked field with the trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from io import BytesIO

import numpy as np

from hunyuanocr.fields.catalogue import normalise_key
from hunyuanocr.fields.field_builder import join_lines
from hunyuanocr.fields.layout import Layout, TextSegment
from hunyuanocr.fields.ranking.candidates import Candidate, find_candidates
from hunyuanocr.fields.ranking.features import page_features
from hunyuanocr.fields.ranking.network import Weights, scores
from hunyuanocr.fields.values.normalize import comparable, normalize
from hunyuanocr.fields.values.style import PageStyle
from hunyuanocr.types import FieldSpec, FieldType

_LEAST = 0.004  # probability of a candidate that is considered
_TYPED = (FieldType.MONEY, FieldType.DATE, FieldType.TIME, FieldType.DATETIME, FieldType.PHONE)
MAX_FIELDS = 40  # of a request that are ranked


@dataclass(frozen=True)
class Choice:
    """A value, the segments that print it (where it is likeliest), and the probability that it is the answer."""

    value: str
    segments: tuple[TextSegment, ...]
    probability: float
    key: str  # equal for equal values


@dataclass(frozen=True)
class Ranking:
    """The choices for one asked field, the likeliest first, and the probability that none of them is the answer."""

    choices: tuple[Choice, ...]
    none: float

    def probability_of(self, value: str, type: FieldType, style: PageStyle) -> float:
        """Return the probability of a value that was chosen in another way; 0 if it is no candidate."""
        key = value_key(value, type, style)
        return next((c.probability for c in self.choices if c.key == key), 0.0)


def value_key(value: str, type: FieldType, style: PageStyle) -> str:
    """Return a key that is equal for equal values: the same amount, day or number; else the same letters."""
    if type in _TYPED and normalize(value, type, style) is not None:
        return comparable(value, type)
    return normalise_key(value)


def rank(
    layout: Layout,
    specs: Sequence[FieldSpec],
    languages: Sequence[str],
    style: PageStyle,
    weights: Weights | None = None,
) -> tuple[Ranking | None, ...]:
    """Return the ranking of each asked field; None for rows, for fields beyond `MAX_FIELDS`, and on a page without text.

    `languages`: those of the page besides English and Chinese. `weights`: by default those of the product.
    """
    asked = [n for n, spec in enumerate(specs) if spec.type is not FieldType.ROWS][:MAX_FIELDS]
    around = find_candidates(layout) if asked else None
    found: list[Ranking | None] = [None] * len(specs)
    if around is None:
        return tuple(found)
    chosen = [specs[n] for n in asked]
    probabilities = scores(load_weights() if weights is None else weights, page_features(around, chosen, languages))
    for n, spec, p in zip(asked, chosen, probabilities, strict=True):
        likely = np.flatnonzero(p[:-1] >= _LEAST)
        found[n] = _ranking([(around.candidates[i], float(p[i])) for i in likely], float(p[-1]), spec.type, layout, style)
    return tuple(found)


def _ranking(
    likely: Sequence[tuple[Candidate, float]], none: float, type: FieldType, layout: Layout, style: PageStyle
) -> Ranking:
    """Return the choices: candidates of equal values are one choice; those that have not the form of the type are left out."""
    groups: dict[str, list[tuple[Candidate, float]]] = {}
    rest = 1.0
    for candidate, p in sorted(likely, key=lambda found: -found[1]):
        if type in _TYPED and normalize(candidate.text, type, style) is None:
            rest -= p
        else:
            groups.setdefault(value_key(candidate.text, type, style), []).append((candidate, p))
    rest = max(rest, _LEAST)
    choices = []
    for key, members in groups.items():
        first = members[0][0]
        segments = [layout.segment(first.line, first.start, first.end)]
        if first.second is not None:
            segments.append(layout.segment(first.second, 0, len(layout.lines[first.second].text)))
        value = join_lines([s.text for s in segments])
        choices.append(Choice(value, tuple(segments), min(sum(p for _, p in members) / rest, 1.0), key))
    return Ranking(tuple(sorted(choices, key=lambda c: -c.probability)), min(none / rest, 1.0))


@lru_cache(maxsize=1)
def load_weights() -> Weights:
    """Return the weights of the trained network (`synthesis.ranker`), stored as 16-bit numbers."""
    data = files(__package__).joinpath("weights.npz").read_bytes()
    with np.load(BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}
