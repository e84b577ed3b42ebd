"""Questions about generated pages: for what is printed, and for what is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hunyuanocr.fields.catalogue import KNOWN, lookup
from hunyuanocr.fields.ranking.candidates import Candidate
from hunyuanocr.types import FieldSpec, FieldType
from synthesis.ranker.sheet import Sheet
from synthesis.ranker.words import EAST_ASIAN, FIELDS, QUESTIONS, WEIGHTS, cased, label, near_label, noun, other_label

Check = Callable[[Candidate], bool]

_USUAL: Sequence[str] = QUESTIONS["usual"]
_NEVER_ABSENT: frozenset[str] = frozenset(QUESTIONS["never_absent"])
_KIN: Sequence[frozenset[str]] = [frozenset(fields) for fields in QUESTIONS["kin"]]


@dataclass(frozen=True)
class Question:
    """An asked field. `answers` tells whether a candidate is right; None: nothing on the page is."""

    spec: FieldSpec
    answers: Check | None


def question(key: str, answers: Check | None) -> Question:
    """Return the question for a client's own words, with the field that the catalogue knows under them."""
    known = lookup(key)
    spec = FieldSpec(key, known.name, known.type) if known and known.type is not FieldType.ROWS else FieldSpec(key)
    return Question(spec, answers)


def questions(sheet: Sheet, moved: Mapping[int, int]) -> list[Question]:
    """Return questions about a page; `moved` has the index of the read line of each printed one."""
    asked = [*_of_known(sheet, moved), *_of_others(sheet, moved), *_of_absent(sheet), *_of_strange(sheet)]
    return list({q.spec.key: q for q in asked}.values())


def _of_known(sheet: Sheet, moved: Mapping[int, int]) -> list[Question]:
    names = sheet.rng.sample(sorted(sheet.known), min(len(sheet.known), 6))
    return [question(asked_words(sheet.rng, n, sheet.language), _answers(sheet, sheet.known[n], moved)) for n in names]


def _of_others(sheet: Sheet, moved: Mapping[int, int]) -> list[Question]:
    """Return questions for printed labels that are not in the catalogue."""
    labels = sheet.rng.sample(sorted(sheet.other), min(len(sheet.other), 5))
    return [
        question(_reworded(sheet.rng, words, sheet.language), _answers(sheet, sheet.other[words], moved))
        for words in labels
        if lookup(words) is None
    ]


def _of_absent(sheet: Sheet) -> list[Question]:
    """Return questions for known fields that are not printed."""
    rng, present = sheet.rng, set(sheet.known)
    unsure = present.union(_NEVER_ABSENT, *(kin for kin in _KIN if kin & present))
    absent = [f for f in FIELDS if f not in unsure]
    usual = [f for f in _USUAL if f in absent]
    names = dict.fromkeys([*rng.sample(usual, min(3, len(usual))), *rng.sample(absent, min(2, len(absent)))])
    return [question(asked_words(rng, name, sheet.language), None) for name in names]


def _of_strange(sheet: Sheet) -> list[Question]:
    """Return questions for words that are neither printed nor in the catalogue."""
    rng = sheet.rng
    labels = [other_label(rng, sheet.language)]
    if sheet.other and rng.random() < 0.7:
        labels.append(near_label(rng, rng.choice(sorted(sheet.other)), sheet.language))
    unknown = [words for words in labels if words not in sheet.other and lookup(words) is None]
    return [question(_reworded(rng, words, sheet.language), None) for words in unknown]


def _answers(sheet: Sheet, places: Sequence[tuple[int, str]], moved: Mapping[int, int]) -> Check:
    """Return the check for values at these places, printed line and text; of two lines only if the page prints it on two."""
    accepted = {(moved[line], _plain(value)) for line, value in places}
    second = {moved[a]: moved[b] for a, b in sheet.continued}

    def answers(candidate: Candidate) -> bool:
        if candidate.second is not None and second.get(candidate.line) != candidate.second:
            return False
        return (candidate.line, _plain(candidate.text)) in accepted

    return answers


def _plain(text: str) -> str:
    return text.replace(" ", "").strip(":.,;")


def asked_words(rng: random.Random, name: str, language: str) -> str:
    """Return words by which a client may ask for a known field, in the language of the page, in English or in another one."""
    draw = rng.random()
    if draw < 0.3:
        return name if rng.random() < 0.7 else name.replace("_", " ")
    known = (*KNOWN[name].zh, *KNOWN[name].asked)
    if draw < 0.4 and known:
        return rng.choice(known)
    if draw >= 0.7:
        language = "en" if draw < 0.92 else rng.choice(list(WEIGHTS))
    words = label(rng, name, language)
    found = lookup(words)
    return cased(words, rng.randint(0, 3)) if found and found.name == name else name


def _reworded(rng: random.Random, words: str, language: str) -> str:
    """Return the words of a label as a client may write them: in another order, fewer, more, in another case."""
    draw, parts = rng.random(), words.split()
    if language in EAST_ASIAN:
        return words[:-1] if draw < 0.08 and len(words) > 3 else words
    if draw < 0.12:
        words = "_".join(parts)
    elif draw < 0.18 and len(parts) > 1:
        words = " ".join(rng.sample(parts, len(parts)))
    elif draw < 0.24 and len(parts) > 2:
        words = " ".join(parts[1:])
    elif draw < 0.3:
        words += " " + rng.choice(["no", "number", "value", noun(rng, "en")])
    return cased(words, rng.randint(0, 3))
