"""What the network sees: the form and place of each candidate, and how the texts around it fit each asked field."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.fields.ranking.candidates import SLOTS, Candidate, Neighbourhood, text_after, text_before
from hunyuanocr.fields.ranking.label_similarity import FIELD_NUMBER, FIELDS, Floats, known_similarity, similarity
from hunyuanocr.fields.ranking.line_parts import KINDS, SHAPES
from hunyuanocr.fields.ranking.ngrams import count_vectors, table_rows
from hunyuanocr.types import FieldSpec, FieldType

TYPES = tuple(FieldType)
_FIRM = re.compile(
    r"\b(?:ltd|limited|inc|gmbh|sdn|bhd|restaurant|cafe|store|shop|market|bistro|bar|grill|pizza|hotel|llc|co|kg|ug|bv|spa|srl|oy|ab)\b"
    r"|公司|店|超市|药房|医院|株式会社|有限会社|s\.a\.?|s\.l\.|b\.v\.|z o\.o\.",
    re.IGNORECASE,
)
_SIGN = re.compile(r"[¥￥$€£₹₺฿₩元円]|\b(?:RM|RMB|CNY|USD|EUR|GBP|CHF|PLN|Rp|zł)\b", re.IGNORECASE)
_LONGEST_LABEL = 60  # characters
PAIR = 7 * len(SLOTS)  # numbers per asked field and candidate, see `_pairs`


@dataclass(frozen=True)
class PageFeatures:
    """Arrays of one page and its asked fields. `rows` and `starts` are the n-grams of its unique texts (`ngrams.table_rows`)."""

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    slots: NDArray[np.int64]  # [candidates, SLOTS]: index of the text
    labels: Floats  # [texts, FIELDS]: how much a text is the label of a known field, 0 … 1
    numeric: Floats  # [candidates, NUMERIC]
    asked: NDArray[np.int64]  # [asked]: index of the asked words
    fields: NDArray[np.int64]  # [asked]: 1 + number of the known field, 0 for another
    types: NDArray[np.int64]  # [asked]
    pairs: Floats  # [asked, candidates, PAIR]


class _Texts:
    """Unique texts of a page and their numbers; 0 is the empty one."""

    def __init__(self) -> None:
        self.numbers = {"": 0}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def page_features(around: Neighbourhood, specs: Sequence[FieldSpec], languages: Sequence[str]) -> PageFeatures:
    """Return the features of a page for the asked fields. `languages`: those of the page besides English and Chinese."""
    texts = _Texts()
    slots = _slot_texts(around, texts)
    asked = np.array([texts.number(spec.key.replace("_", " ")) for spec in specs], np.int64)
    unique = list(texts.numbers)
    vectors = count_vectors(unique)
    cosine, share = _known(unique, vectors, languages)
    own = similarity(vectors[asked], vectors)
    fields = np.array([1 + FIELD_NUMBER[spec.name] if spec.name in FIELD_NUMBER else 0 for spec in specs], np.int64)
    rows, starts = table_rows(unique)
    labels = (np.clip((cosine - 0.4) / 0.6, 0, 1) ** 2).T
    return PageFeatures(
        rows,
        starts,
        slots,
        np.ascontiguousarray(labels, np.float32),
        _numeric(around, cosine, slots),
        asked,
        fields,
        np.array([TYPES.index(spec.type) for spec in specs]),
        _pairs(slots, fields, own, (cosine, share)),
    )


def _known(texts: Sequence[str], vectors: Floats, languages: Sequence[str]) -> tuple[Floats, Floats]:
    """Return `known_similarity`, 0 for texts that are no labels: numbers and long sentences."""
    wordy = [n for n, text in enumerate(texts) if len(text) <= _LONGEST_LABEL and any(map(str.isalpha, text))]
    found = np.zeros((2, len(FIELDS), len(texts)), np.float32)
    found[:, :, wordy] = known_similarity(vectors[wordy], languages)
    return found[0], found[1]


def _slot_texts(around: Neighbourhood, texts: _Texts) -> NDArray[np.int64]:
    """Return the numbers of the texts around each candidate, [candidates, SLOTS]."""
    whole = np.array([*(texts.number(cell.text) for cell in around.lines), 0])
    slots = np.zeros((len(around.candidates), len(SLOTS)), np.int64)
    for name, found in around.neighbours.items():
        slots[:, SLOTS.index(name)] = whole[found]
    for n, candidate in enumerate(around.candidates):
        line = around.layout.lines[candidate.line].text
        slots[n, 0] = texts.number(candidate.text)
        slots[n, 1] = texts.number(text_before(line, candidate.start)) if candidate.start else 0
        if candidate.second is None and (after := text_after(line, candidate.end)):
            slots[n, SLOTS.index("right")] = texts.number(after)
    return slots


def _pairs(
    slots: NDArray[np.int64], fields: NDArray[np.int64], own: tuple[Floats, Floats], known: tuple[Floats, Floats]
) -> Floats:
    """Return the fit of each slot's text to each asked field, [asked, candidates, PAIR].

    For each slot: similarity to the asked words and to the labels of the field (cosine, share), by how much the text is rather
    the label of this field than of any other, and how far the similarities are below the best on the page.
    """
    present = (slots > 0).astype(np.float32)
    cosine, share = known
    ranked = np.sort(cosine, axis=0)
    best, second = ranked[-1], ranked[-2]
    found = []
    for row, field in enumerate(fields):
        of_field = cosine[field - 1] if field else np.zeros_like(best)
        other = np.where(of_field >= best, second, best)
        lead = of_field - other if field else own[0][row] - best
        columns = [
            a[slots] * present for a in (own[0][row], own[1][row], of_field, share[field - 1] if field else np.zeros_like(best))
        ]
        columns.append(lead[slots] * present)
        for n in (0, 2):
            columns.append(columns[n] - columns[n][:, 1:].max())
        found.append(np.concatenate(columns, axis=1))
    return np.stack(found).astype(np.float32)


def _numeric(around: Neighbourhood, cosine: Floats, slots: NDArray[np.int64]) -> Floats:
    """Return the form, the place and the arithmetic of each candidate, [candidates, NUMERIC]."""
    forms = np.array([_form(c, around.layout.lines[c.line].text) for c in around.candidates], np.float32)
    confidences = [around.layout.lines[c.line].confidence for c in around.candidates]
    letters = np.array([[1.0 if c is None else c] for c in confidences])
    label = cosine.max(0)[slots[:, :1]]
    return np.concatenate([forms, _places(around), _arithmetic(around.candidates), letters, label], axis=1).astype(np.float32)


def _form(candidate: Candidate, line: str) -> list[float]:
    text, kinds = candidate.text, candidate.kinds
    n = len(text)
    digits = sum(map(str.isdigit, text))
    return [
        *(float(kind in kinds) for kind in KINDS),
        *(float(shape in kinds) for shape in SHAPES),
        digits / n,
        sum(map(str.isalpha, text)) / n,
        sum(ord(c) > 0x2E80 for c in text) / n,
        sum(map(str.isupper, text)) / n,
        min(n, 40) / 40,
        min(digits, 12) / 12,
        float(line[candidate.end : candidate.end + 2].strip()[:1] in (":", "：")),
        float(candidate.start > 0 and line[: candidate.start].rstrip()[-1:] in (":", "：")),
        float(bool(_FIRM.search(text))),
        min(text.count(" "), 5) / 5,
        float(bool(_SIGN.search(text))),
        float(candidate.second is not None),
    ]


def _places(around: Neighbourhood) -> NDArray[np.float64]:
    lines, of = around.lines, around.of_line
    x0, x1 = np.array([c.x0 for c in lines]), np.array([c.x1 for c in lines])
    h, n = np.array([c.h for c in lines]), len(lines)
    width, left = max(float(x1.max() - x0.min()), 1.0), float(x0.min())
    top, height = float(around.y.min()), max(float(np.ptp(around.y)), 1.0)
    typical = float(np.median(h)) or 1.0

    def distance(slot: str, limit: float) -> NDArray[np.float64]:
        index = around.neighbours[slot]
        return np.where(index >= 0, np.minimum(np.abs(around.y[of] - around.y[index]) / typical, limit) / limit, -1.0)

    before = around.neighbours["left"]
    gap = np.where(before >= 0, np.clip((around.left_edge - x1[before]) / width, -1, 1), -1.0)
    columns = [
        (around.left_edge - left) / width,
        (around.right_edge - left) / width,
        (around.y[of] - top) / height,
        np.minimum(h[of] / typical, 4) / 4,
        (around.right_edge - around.left_edge) / width,
        of / n,
        np.minimum(of, 10) / 10,
        np.minimum(n - 1 - of, 10) / 10,
        gap,
        distance("above", 8),
        distance("header", 20),
        distance("below", 8),
        np.abs((x0 + x1)[of] / 2 - left - width / 2) / width,
        np.minimum(around.in_row[of, 0], 5) / 5,
        np.minimum(around.in_row[of, 1], 5) / 5,
        np.full(len(of), min(n, 100) / 100),
    ]
    return np.stack(columns, axis=1)


def amount_of(text: str) -> float | None:
    """Return the number in a text with decimal marks of any kind, without its currency: 1.234,50 → 1234.5."""
    digits = "".join(c for c in text if c.isdigit() or c in ".,'")
    if not any(map(str.isdigit, digits)):
        return None
    mark = max(digits.rfind("."), digits.rfind(","))
    cents = len(digits) - mark - 1
    plain = "".join(filter(str.isdigit, digits))
    return int(plain[:14]) / 10**cents if mark >= 0 and cents in (1, 2) else float(int(plain[:14]))


def _arithmetic(candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """Return for each amount: its size among the amounts, and whether it is the sum or the difference of two others.

    [candidates, 7]: size relative to the largest, whether it is the largest, how often it occurs, sum of two, larger part of a
    sum, difference to a rounded amount, and whether there is an amount at all.
    """
    found = np.zeros((len(candidates), 7))
    amounts = {n: a for n, c in enumerate(candidates) if "money" in c.kinds and (a := amount_of(c.text)) is not None}
    if not amounts:
        return found
    counts = Counter(round(100 * a) for a in amounts.values())
    values = sorted(counts, reverse=True)[:40]
    known, largest = set(values), max(values[0], 1)
    sums = {a + b for n, a in enumerate(values) for b in values[n:] if a > 0 and b > 0}
    parts = {a for n, a in enumerate(values) for b in values[n + 1 :] if a > b > 0 and a + b in known}
    for n, amount in amounts.items():
        cents = round(100 * amount)
        found[n] = [
            math.log1p(cents) / math.log1p(largest),
            cents == largest,
            min(counts[cents], 4) / 4,
            cents in sums,
            cents in parts,
            any(0 < abs(cents - other) <= 5 for other in values),
            1.0,
        ]
    return found


NUMERIC = len(KINDS) + len(SHAPES) + 12 + 16 + 7 + 2
FIELD_COUNT = len(FIELDS)
