"""Judge answers by the ranking: the probability that they are right, doubts, alternatives, and reasons for missing values.

The probabilities are fitted by `synthesis.ranker` on real papers that the ranker was not trained on (`verifier.json`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from importlib.resources import files
from typing import Any

from hunyuanocr.fields.field_builder import field_from_segments
from hunyuanocr.fields.grounding import Occurrence
from hunyuanocr.fields.layout import Layout, union_box
from hunyuanocr.fields.ranking.probability import Probability
from hunyuanocr.fields.ranking.ranker import Choice, Ranking, value_key
from hunyuanocr.fields.values.identifiers import IdentifierKind, has_form, identifier_kind, is_valid
from hunyuanocr.fields.values.style import PageStyle
from hunyuanocr.types import Alternative, Doubt, Field, FieldSpec, FieldType, NullReason

_TYPES = (FieldType.MONEY, FieldType.DATE, FieldType.TIME, FieldType.PHONE, FieldType.NAME, FieldType.IDENTIFIER)
_MUST_BE_PARSED = (FieldType.MONEY, FieldType.DATE, FieldType.TIME, FieldType.DATETIME, FieldType.PHONE, FieldType.PERCENT)
_SMALL_PAGE, _LARGE_PAGE = 15, 150  # lines; few of the papers that the verifier was fitted to are smaller or larger
_ALTERNATIVES = 3
_LEAST_ALTERNATIVE = 0.02  # probability
_RIVAL = 0.1  # probability of another value that is named as a rival
_UNGROUNDED = 0.5  # highest probability of an answer that is not found on the page
_WEAK, _UNREADABLE = 0.85, 0.4  # confidence of a letter that may be wrong, and of one that is as often wrong as right
_MESSAGES = {
    "close_rival": "Another value on the page is nearly as likely.",
    "weak_letters": "The letters are hard to read.",
    "uncertain_choice": "The label or the position of this value is unusual.",
    "ambiguous_date": "The date can be read in more than one way.",
    "invalid_checksum": "The check digits do not fit.",
    "value_not_certain": "A value may be printed, but it is not certain enough to answer it.",
}


@dataclass(frozen=True)
class Verifier:
    """What was fitted for answers (`answer_features`) and missing values (`missing_features`), and when these are doubtful."""

    answer: Probability
    missing: Probability
    doubt: float  # probability below which an answer is doubtful
    doubt_missing: float
    fill: float  # probability above which the ranker's choice is answered where the rules find nothing
    override: float  # by how much the ranker's choice must be more probable than another answer of the rules

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Verifier:
        """Return the fitted verifier."""
        data: dict[str, Any] = json.loads(files(__package__).joinpath("verifier.json").read_text(encoding="utf-8"))
        return cls(Probability.of(data.pop("answer")), Probability.of(data.pop("missing")), **data)


def _logit(p: float) -> float:
    return math.log((p + 1e-3) / (1 - p + 1e-3))


class Source(Enum):
    """Who chose an answer."""

    BOTH = "both"  # the rules or a language model, and the ranker
    OTHER = "other"  # the rules or a language model, and the ranker would choose another value
    RIVAL = "rival"  # the ranker, against another answer
    ALONE = "alone"  # the ranker, where there is no other answer


def answer_features(field: Field, spec: FieldSpec, ranking: Ranking, source: Source, page: Evidence) -> list[float]:
    """Return what speaks for and against an answer."""
    key = value_key(field.value or "", field.type, page.style)
    own = _logit(next((c.probability for c in ranking.choices if c.key == key), 0.0))
    rival = _logit(next((c.probability for c in ranking.choices if c.key != key), 0.0))
    letters = _logit(1.0 if field.text_confidence is None else field.text_confidence)
    sources = [float(source is s) for s in Source]
    known = [float(field.type is t) for t in _TYPES]
    links = page.label_of(spec.name or spec.key, field.value or "")
    page_letters, size = _logit(page.letters), math.log1p(min(max(len(page.layout.lines), _SMALL_PAGE), _LARGE_PAGE))
    form = [float(field.normalized is not None), float(field.grounded)]
    base = [own, rival, _logit(ranking.none), letters, *form, *links, page_letters, size]
    by_source = [x for s in sources for x in (s, s * own, s * rival)]
    return [*base, *by_source, *(x for k in known for x in (k, k * own, k * letters, k * sources[1]))]


def missing_features(spec: FieldSpec, ranking: Ranking, page: Evidence) -> list[float]:
    """Return what speaks for and against a missing value."""
    best = ranking.choices[0].probability if ranking.choices else 0.0
    known = [float(spec.type is t) for t in _TYPES]
    base = [_logit(ranking.none), _logit(best), float(page.is_labelled(spec)), _logit(page.letters)]
    return [*base, *known, *(k * base[0] for k in known)]


@dataclass(frozen=True)
class Evidence:
    """What is known about a page: its layout, its habits, the fields whose labels are printed, and the labels of its values.

    `links`: (field, printed value) → how strongly the rules link a label of the field to it, 0 … 1. A field is a name of the
    catalogue, or a client's own word.
    """

    layout: Layout
    style: PageStyle
    printed_labels: frozenset[str]
    links: Mapping[tuple[str, str], float]
    letters: float  # mean confidence of the lines
    is_plausible: Callable[[str | None, str], bool]  # whether a value may be that of a field of the catalogue, by the rules

    def is_labelled(self, spec: FieldSpec) -> bool:
        """Return whether a label of the field is printed."""
        return (spec.name or spec.key) in self.printed_labels

    def label_of(self, field: str, value: str) -> tuple[float, float]:
        """Return the link of a value to a label of the field, and its strongest link to a label of another field."""
        others = (score for (name, text), score in self.links.items() if text == value and name != field)
        return self.links.get((field, value), 0.0), max(others, default=0.0)


def verify(
    fields: Sequence[Field], specs: Sequence[FieldSpec], rankings: Sequence[Ranking | None], page: Evidence, *, fill: bool
) -> tuple[Field, ...]:
    """Return the fields with confidence, doubts, alternatives and reasons; rows are unchanged.

    `fill`: answer the likeliest choice where a value is missing and the choice is probable enough.
    """
    return tuple(
        _unranked(field, spec, page) if ranking is None else _verified(field, spec, ranking, page, fill=fill)
        for field, spec, ranking in zip(fields, specs, rankings, strict=True)
    )


def _unranked(field: Field, spec: FieldSpec, page: Evidence) -> Field:
    """Return a field of rows, or of a page without text, with the reason why it is missing."""
    missing = field.value is None and field.rows is None and field.reason is None
    return replace(field, reason=_reason(spec, page)) if missing else field


def _reason(spec: FieldSpec, page: Evidence, choices: Sequence[Choice] = ()) -> NullReason:
    """Return why a value is missing. `choices`: those of the ranker, whose letters may be unreadable."""
    if not page.is_labelled(spec):
        return "not_printed"
    likely = [s for c in choices[:1] if c.probability >= _RIVAL for s in c.segments]
    letters = Occurrence(tuple((s.line, s.start, s.end) for s in likely)).text_confidence(page.layout.lines) if likely else None
    return "unreadable" if letters is not None and letters < _UNREADABLE else "label_without_value"


def _verified(field: Field, spec: FieldSpec, ranking: Ranking, page: Evidence, *, fill: bool) -> Field:
    if field.rows is not None:
        return field
    own = judged(field, spec, ranking, page, source_of(field, ranking, page.style)) if field.value is not None else None
    if fill and (better := _better(field, own, spec, ranking, page)) is not None:
        return better
    if own is not None:
        return _with_doubts(field, spec, ranking, page, own)
    verifier = Verifier.load()
    labelled = page.is_labelled(spec)
    p = verifier.missing(missing_features(spec, ranking, page))
    doubtful = p < verifier.doubt_missing
    return replace(
        field,
        confidence=p,
        reason=field.reason or _reason(spec, page, ranking.choices),
        doubts=(*field.doubts, *([_doubt("value_not_certain")] if doubtful else [])),
        alternatives=_alternatives(ranking.choices, page) if doubtful or labelled else (),
    )


def _better(field: Field, own: float | None, spec: FieldSpec, ranking: Ranking, page: Evidence) -> Field | None:
    """Return the ranker's choice if it is the better answer. `own`: the probability of the rules' answer, if there is one."""
    choice = choice_of(spec, ranking, page)
    if choice is None or source_of(field, ranking, page.style) is Source.BOTH:
        return None
    verifier = Verifier.load()
    p = judged(choice, spec, ranking, page, Source.ALONE if own is None else Source.RIVAL)
    least = verifier.fill if own is None else own + verifier.override
    allowed = own is None or may_override(field, spec, page)
    return _with_doubts(choice, spec, ranking, page, p) if allowed and p >= least else None


def may_override(field: Field, spec: FieldSpec, page: Evidence) -> bool:
    """Return whether the ranker may replace an answer of the rules: only a merchant without a label, which they guess."""
    return spec.name == "merchant" and not any(page.label_of(spec.name, field.value or ""))


def choice_of(spec: FieldSpec, ranking: Ranking, page: Evidence) -> Field | None:
    """Return the likeliest choice as an answer, or None if it has not the form of the field."""
    best = ranking.choices[0] if ranking.choices else None
    if best is None or not page.is_plausible(spec.name, best.value):
        return None
    field = field_from_segments(spec.key, spec.type, best.segments, page.layout.lines, page.style)
    kind = identifier_kind(spec.key)
    if (spec.type in _MUST_BE_PARSED and field.normalized is None) or (kind and not has_form(kind, best.value)):
        return None
    return field


def source_of(field: Field, ranking: Ranking, style: PageStyle) -> Source:
    """Return whether the ranker would choose the same answer as the rules or a language model did."""
    first = ranking.choices[0].key if ranking.choices else None
    same = field.value is not None and first == value_key(field.value, field.type, style)
    return Source.BOTH if same else Source.OTHER


def judged(field: Field, spec: FieldSpec, ranking: Ranking, page: Evidence, source: Source) -> float:
    """Return the probability that an answer is right; at most `_UNGROUNDED` if it is not found on the page."""
    p = Verifier.load().answer(answer_features(field, spec, ranking, source, page))
    return p if field.grounded else min(p, _UNGROUNDED)


def _with_doubts(field: Field, spec: FieldSpec, ranking: Ranking, page: Evidence, p: float) -> Field:
    """Return an answer with the probability p that it is right, and with doubts and alternatives if it is low."""
    key = value_key(field.value or "", field.type, page.style)
    others = [c for c in ranking.choices if c.key != key]
    weak = field.text_confidence is not None and field.text_confidence < _UNREADABLE
    doubts = _doubts(field, others, ranking.none) if weak or p < Verifier.load().doubt else []
    kind = identifier_kind(spec.key)
    if kind in (IdentifierKind.IBAN, IdentifierKind.CHINESE_TAX) and not is_valid(kind, field.value or ""):
        doubts.append(_doubt("invalid_checksum"))
    alternatives = _alternatives(others, page) if doubts else ()
    return replace(field, confidence=p, doubts=(*field.doubts, *doubts), alternatives=alternatives)


def _doubts(field: Field, others: Sequence[Choice], none: float) -> list[Doubt]:
    """Return why a person should check the answer; at least one reason."""
    found = []
    if others and others[0].probability >= _RIVAL:
        found.append("close_rival")
    if field.text_confidence is not None and field.text_confidence < _WEAK:
        found.append("weak_letters")
    if isinstance(field.normalized, Mapping) and "candidates" in field.normalized:
        found.append("ambiguous_date")
    if not found or none >= _RIVAL:
        found.append("uncertain_choice")
    return [_doubt(code) for code in found]


def _doubt(code: str) -> Doubt:
    return Doubt(code, _MESSAGES[code])


def _alternatives(choices: Sequence[Choice], page: Evidence) -> tuple[Alternative, ...]:
    likely = [c for c in choices if c.probability >= _LEAST_ALTERNATIVE][:_ALTERNATIVES]
    return tuple(
        Alternative(c.value, union_box([page.layout.box(s) for s in c.segments]), c.segments[0].page, c.probability)
        for c in likely
    )
