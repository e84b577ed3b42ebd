"""Summarise outcomes as metrics: a JSON-serializable dict, in total and by group (degradation, labelled, kind of document)."""

from __future__ import annotations

import resource
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hunyuanocr.evaluate.calibration import Stated, calibration
from hunyuanocr.evaluate.dataset import LabelledDocument
from hunyuanocr.evaluate.metrics import LineCounts, count_lines, f1, value_in_box, value_on_page
from hunyuanocr.evaluate.run import Outcome
from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.types import Field, FieldType, Line


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return all metrics of a run. Peak memory is that of this process, in MB."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        for name in _groups(outcome.sample):
            groups[name].append(outcome)
    seconds = sorted(o.seconds for o in outcomes)
    return {
        "documents": len(outcomes),
        "failed": {str(o.sample.path): o.error for o in outcomes if o.error},
        "seconds": {"p50": _quantile(seconds, 0.5), "p95": _quantile(seconds, 0.95), "mean": round(statistics.fmean(seconds), 4)},
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        **_metrics(outcomes),
        "groups": {name: {"documents": len(group), **_metrics(group)} for name, group in sorted(groups.items())},
    }


def _metrics(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "lines": _lines(outcomes),
        "fields": _fields(outcomes),
        "items": _items(outcomes),
        "evidence": _evidence(outcomes),
        "calibration": calibration([s for o in outcomes for s in _stated(o)]),
    }


def _groups(sample: LabelledDocument) -> list[str]:
    meta = sample.meta
    if not meta:
        return []
    degradations = meta.get("degradations") or ["none"]
    return [
        *(f"degradation: {d}" for d in degradations),
        f"labelled: {'yes' if meta.get('labelled', True) else 'no'}",
        f"kind: {meta.get('kind', '?')} {meta.get('language', '')}".strip(),
    ]


def _lines(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    counts = [count_lines(o.sample.lines, o.result.lines if o.result else ()) for o in outcomes if o.sample.lines is not None]
    if not counts:
        return None
    c = sum(counts, LineCounts())
    precision, recall = _share(c.matched, c.read), _share(c.matched, c.truth)
    return {
        "detection_precision": precision,
        "detection_recall": recall,
        "detection_f1": round(f1(precision, recall), 4),
        "line_accuracy": _share(c.exact, c.truth),
        "character_error_rate": _share(c.edits, c.characters),
        "literal_line_accuracy": _share(c.literal, c.truth),
        "literal_character_error_rate": _share(c.literal_edits, c.literal_characters),
        "mixed_script_lines": c.mixed,
        "mixed_script_accuracy": _share(c.mixed_exact, c.mixed) if c.mixed else None,
        "count": c.truth,
    }


def _fields(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return metrics by field and in total: exact match after `comparable`; `null_accuracy` for fields that are not printed."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for o in outcomes:
        results = {f.key: f for f in o.result.fields} if o.result else {}
        for key in o.sample.fields:
            value = results[key].value if key in results else None
            counts[key].update(_verdict(o.sample.accepted(key), value, _type_of(key)))
    total = sum(counts.values(), Counter())
    return {key: _rates(c) for key, c in [*sorted(counts.items()), ("(all)", total)]} if counts else {}


def _verdict(accepted: Sequence[str], value: str | None, kind: FieldType) -> list[str]:
    verdict = ["present" if accepted else "absent"]
    verdict += ["answered"] if value is not None else []
    verdict += ["right"] if _is_right(accepted, value, kind) and accepted else []
    return verdict + (["null"] if not accepted and value is None else [])


def _is_right(accepted: Sequence[str], value: str | None, kind: FieldType) -> bool:
    """Return whether a value is one of the accepted ones, or is missing where nothing is printed."""
    if value is None or not accepted:
        return value is None and not accepted
    return comparable(value, kind) in {comparable(one, kind) for one in accepted}


def _stated(outcome: Outcome) -> Iterator[Stated]:
    """Yield what is stated about each asked key that has a confidence."""
    for field in outcome.result.fields if outcome.result else ():
        if field.key in outcome.sample.fields and field.confidence is not None and field.rows is None:
            right = _is_right(outcome.sample.accepted(field.key), field.value, _type_of(field.key))
            doubted = bool(field.doubts) or field.reason in ("label_without_value", "unreadable")
            yield Stated(field.confidence, doubted, right)


def _rates(c: Counter[str]) -> dict[str, Any]:
    """Return rates; None instead of 0 for recall and F1 of a field that is never printed, precision of one never answered."""
    precision, recall = _share(c["right"], c["answered"]), _share(c["right"], c["present"])
    return {
        "precision": precision if c["answered"] else None,
        "recall": recall if c["present"] else None,
        "f1": round(f1(precision, recall), 4) if c["present"] else None,
        "printed": c["present"],
        "null_accuracy": _share(c["null"], c["absent"]) if c["absent"] else None,
        "absent": c["absent"],
    }


def _items(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Return metrics of line items; a row is right if its name and amount are."""
    right = expected = answered = 0
    labelled = [o for o in outcomes if o.sample.items is not None]
    for o in labelled:
        rows = next((f.rows for f in o.result.fields if f.key == "items"), None) if o.result else None
        true = Counter(_row(r.get("name"), r.get("amount")) for r in o.sample.items or ())
        read = Counter(_row(_value(r.get("name")), _value(r.get("amount"))) for r in rows or ())
        right += (true & read).total()
        expected += true.total()
        answered += read.total()
    if not labelled:
        return None
    precision, recall = _share(right, answered), _share(right, expected)
    return {"precision": precision, "recall": recall, "f1": round(f1(precision, recall), 4), "rows": expected}


def _row(name: str | None, amount: str | None) -> tuple[str, str]:
    return comparable(name or "", FieldType.NAME), comparable(amount or "", FieldType.MONEY)


def _value(cell: Field | None) -> str | None:
    return cell.value if cell else None


def _evidence(outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """Return over all values: how many are grounded, how many of those are in their box, and grounded inventions."""
    answered = grounded = in_box = unmarked = 0
    judged = [o for o in outcomes if o.sample.lines is not None and o.result]
    for o in judged:
        truth: tuple[Line, ...] = o.sample.lines or ()
        for value in _answered(o.result.fields if o.result else ()):
            answered += 1
            grounded += value.grounded
            text = value.value or ""
            if value.grounded:
                in_box += value.box is not None and value_in_box(text, value.box, value.page or 0, truth)
                unmarked += not value_on_page(text, value.box, value.page or 0, truth)
    if not judged:
        return None
    return {
        "answered": answered,
        "grounded": _share(grounded, answered),
        "grounded_stands_in_box": _share(in_box, grounded),
        "nowhere_on_page_but_grounded": unmarked,
    }


def _answered(fields: Iterable[Field]) -> list[Field]:
    flat: list[Field] = []
    for f in fields:
        flat += [cell for row in f.rows for cell in row.values()] if f.rows else [f]
    return [f for f in flat if f.value is not None]


def _type_of(key: str) -> FieldType:
    known = lookup(key)
    return known.type if known else FieldType.TEXT


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _quantile(ordered: Sequence[float], q: float) -> float:
    return round(ordered[min(int(q * len(ordered)), len(ordered) - 1)], 4)
