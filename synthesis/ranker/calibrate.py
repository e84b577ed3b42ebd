"""Fit the verifier (`hunyuanocr.fields.ranking.verifier`) on papers that the ranker was not trained on, and measure it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from hunyuanocr.evaluate.calibration import Stated, calibration
from hunyuanocr.fields.ranking.network import Weights
from hunyuanocr.fields.ranking.probability import Probability
from hunyuanocr.fields.ranking.ranker import Ranking, rank
from hunyuanocr.fields.ranking.verifier import (
    Evidence,
    Source,
    Verifier,
    answer_features,
    choice_of,
    may_override,
    missing_features,
    source_of,
)
from hunyuanocr.fields.rules.extractor import RuleExtractor, evidence_of
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import Field, FieldSpec
from synthesis.ranker.real_papers import Paper, agrees

_FOLDS = 5
_NETWORKS, _UNITS, _STEPS, _DECAY = 4, 24, 200, 0.2  # of `_fitted`
_CAUGHT = 0.7  # share of the wrong answers that must be doubted; more would doubt many right ones too
_FILL = 0.45
_OVERRIDE = 1.0  # never: at 0.3 it gains 4 of 118 merchants of WildReceipt and loses 6 of 143 on rendered Chinese receipts


@dataclass(frozen=True)
class Answer:
    """A possible answer to an asked key: its features for the verifier, and whether it is right."""

    value: str
    features: Sequence[float]
    right: bool


@dataclass(frozen=True)
class Observation:
    """One asked key of a paper: the answer of the rules, and that of the ranker if it is another one."""

    group: str
    id: str
    spec: FieldSpec
    printed: bool
    ruled: Answer | None
    ranked: Answer | None
    missing: Sequence[float]  # features of a missing value
    replaceable: bool  # whether the ranker may replace the answer of the rules


def observe(papers: Iterable[Paper], weights_of: Callable[[Paper], Weights]) -> list[Observation]:
    """Return the observations of papers; `weights_of` returns those of a ranker that was not trained on the paper."""
    return [o for paper in papers if paper.truth for o in _observe(paper, weights_of(paper))]


def _observe(paper: Paper, weights: Weights) -> Iterator[Observation]:
    specs = parse_instruction(fields=list(paper.truth)).fields
    extractor = RuleExtractor(paper.lines, specs)
    page = extractor.page
    evidence = evidence_of(page)
    for spec, ranking in zip(specs, rank(page.layout, specs, page.languages, page.style, weights), strict=True):
        if ranking is not None:
            yield _observation(paper, extractor.extract(spec), spec, ranking, evidence)


def _observation(paper: Paper, field: Field, spec: FieldSpec, ranking: Ranking, page: Evidence) -> Observation:
    truth = paper.truth[spec.key]

    def answer(found: Field, source: Source) -> Answer:
        right = agrees(found.value or "", truth, spec.type)
        return Answer(found.value or "", answer_features(found, spec, ranking, source, page), right)

    source = source_of(field, ranking, page.style)
    ruled = answer(field, source) if field.value is not None else None
    choice = None if source is Source.BOTH else choice_of(spec, ranking, page)
    ranked = None if choice is None else answer(choice, Source.RIVAL if ruled else Source.ALONE)
    missing, replaceable = missing_features(spec, ranking, page), may_override(field, spec, page)
    return Observation(paper.group, paper.id, spec, bool(truth), ruled, ranked, missing, replaceable)


def fit(observed: Sequence[Observation]) -> Verifier:
    """Return the verifier for these observations.

    The probabilities below which answers are doubtful are those that catch enough wrong answers of papers that were left out.
    """
    verifier = _without_doubts(observed)
    number = {paper: n for n, paper in enumerate(dict.fromkeys((o.group, o.id) for o in observed))}
    wrong: dict[bool, list[float]] = {False: [], True: []}  # whether missing → stated probabilities
    for fold in range(_FOLDS):
        own = [o for o in observed if number[o.group, o.id] % _FOLDS == fold]
        rest = [o for o in observed if number[o.group, o.id] % _FOLDS != fold]
        other = _without_doubts(rest) if own and rest else verifier
        for o in own:
            if not stated(other, o).right:
                wrong[final_answer(other, o) is None].append(confidence(other, o))
    return replace(verifier, doubt=_quantile(wrong[False]), doubt_missing=_quantile(wrong[True]))


def _without_doubts(observed: Sequence[Observation]) -> Verifier:
    answers = [a for o in observed for a in (o.ruled, o.ranked) if a is not None]
    fitted = _fitted([a.features for a in answers], [a.right for a in answers])
    verifier = Verifier(fitted, fitted, 0.5, 0.5, _FILL, _OVERRIDE)
    missing = [o for o in observed if final_answer(verifier, o) is None]
    return replace(verifier, missing=_fitted([o.missing for o in missing], [not o.printed for o in missing]))


def to_json(verifier: Verifier) -> dict[str, Any]:
    """Return the verifier as `Verifier.load` reads it."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    return {name: plain(value) for name, value in asdict(verifier).items()}


def final_answer(verifier: Verifier, o: Observation) -> Answer | None:
    """Return what the product answers; None for a missing value."""
    if o.ranked is not None:
        p, ruled = verifier.answer(o.ranked.features), verifier.answer(o.ruled.features) if o.ruled else None
        if (ruled is None and p >= verifier.fill) or (ruled is not None and o.replaceable and p >= ruled + verifier.override):
            return o.ranked
    return o.ruled


def confidence(verifier: Verifier, o: Observation) -> float:
    """Return the probability that the product states."""
    answer = final_answer(verifier, o)
    return verifier.missing(o.missing) if answer is None else verifier.answer(answer.features)


def stated(verifier: Verifier, o: Observation) -> Stated:
    """Return what the product states about an asked key, and whether that is right."""
    answer, p = final_answer(verifier, o), confidence(verifier, o)
    if answer is None:
        return Stated(p, p < verifier.doubt_missing, not o.printed)
    return Stated(p, p < verifier.doubt, answer.right)


def _quantile(stated: Sequence[float]) -> float:
    """Return the probability that is above the share of stated ones that must be caught."""
    ordered = sorted(stated)
    return round(ordered[min(math.ceil(_CAUGHT * len(ordered)), len(ordered) - 1)] + 1e-6, 4) if ordered else 0.5


def _fitted(rows: Sequence[Sequence[float]], right: Sequence[bool]) -> Probability:
    """Return the probability of being right: the mean of small networks that begin with different weights."""
    if not rows:
        raise ValueError("There is no answer, or no missing value, to fit to. Use more papers.")
    x, y = torch.tensor(rows, dtype=torch.float32), torch.tensor(right, dtype=torch.float32)
    mean, scale = x.mean(0), x.std(0, unbiased=False) + 1e-3
    hidden, output = [], []
    for seed in range(_NETWORKS):
        first, last = _one_network((x - mean) / scale, y, seed)
        hidden.append(torch.cat([first.weight, first.bias[:, None]], 1))
        output.append(torch.cat([last.weight[0], last.bias]))
    stacked = (mean, scale, torch.stack(hidden), torch.stack(output))
    return Probability(*(np.round(value.detach().double().numpy(), 4) for value in stacked))


def _one_network(x: torch.Tensor, y: torch.Tensor, seed: int) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """Return the two layers of a network."""
    torch.manual_seed(seed)
    first, last = torch.nn.Linear(x.shape[1], _UNITS), torch.nn.Linear(_UNITS, 1)
    network = torch.nn.Sequential(first, torch.nn.Tanh(), torch.nn.Dropout(0.2), last)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3, weight_decay=_DECAY)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(x)[:, 0], y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return first, last


def report(verifier_of: Callable[[Observation], Verifier], observed: Sequence[Observation]) -> dict[str, dict[str, Any]]:
    """Return figures per set and in total: values right, absent ones null, and `evaluate.calibration`."""
    groups = {name: [o for o in observed if o.group == name] for name in dict.fromkeys(o.group for o in observed)}
    return {name: _figures(verifier_of, rows) for name, rows in {**groups, "all": list(observed)}.items()}


def _figures(verifier_of: Callable[[Observation], Verifier], rows: Sequence[Observation]) -> dict[str, Any]:
    found = [(o, final_answer(verifier_of(o), o)) for o in rows]
    figures = calibration([stated(verifier_of(o), o) for o in rows]) or {}
    return {
        "printed": sum(o.printed for o in rows),
        "right": sum(a is not None and a.right for _, a in found),
        "rules right": sum(o.ruled is not None and o.ruled.right for o in rows),
        "absent": sum(not o.printed for o in rows),
        "null": sum(not o.printed and a is None for o, a in found),
        "wrong answers": sum(a is not None and not a.right for _, a in found),
        **{name: figures[name] for name in ("error", "doubted", "caught", "auroc", "ece")},
    }
