"""Real papers to train on and to measure by: read once by the CPU backend, with what is printed on them."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hunyuanocr.cli.common import running_pipeline, settings_from
from hunyuanocr.evaluate import load_dataset
from hunyuanocr.fields.catalogue import KNOWN, lookup, normalise_key
from hunyuanocr.fields.ranking.candidates import Candidate
from hunyuanocr.fields.values.normalize import comparable
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Request
from hunyuanocr.types import FieldType, Line, Quad
from synthesis.ranker.pages import Example, make_example
from synthesis.ranker.questions import Check, Question, asked_words, question

_UNIT = re.compile(r"(?<=\d)\s?[^\W\d]{1,6}(?:/[^\W\d]{1,3})?$")  # after a number, which may be true without it
_SIGNS = re.compile(r"(?<!\w)[-+<>](?=\s?\d)|(?<=\d)[.,](?=\d{1,2}(?!\d))")  # signs of numbers and decimal marks
_MIN_NAME = 5  # letters of a printed line that counts as a name of several lines
_MAX_VALUE = 120  # letters of a candidate that can be right


@dataclass(frozen=True)
class Paper:
    """A paper: its lines, and what is printed for each asked key: any of these values; none of them: it is not printed."""

    group: str
    id: str
    lines: tuple[Line, ...]
    truth: dict[str, tuple[str, ...]]


async def read_folder(folder: Path, out: Path) -> None:
    """Read the papers of a folder in the form of `hunyuanocr eval` with the CPU backend, and write them for `load_papers`.

    Raises InvalidValue for a folder without labelled pictures or with invalid labels, and HunyuanOcrError for a picture that
    cannot be read.
    """
    task = parse_instruction(task="spot")
    rows = []
    async with running_pipeline(settings_from("ppocr", None)) as pipeline:
        for sample in load_dataset(folder):
            data = await asyncio.to_thread(sample.path.read_bytes)
            result = await pipeline.run(Request(data, task))
            rows.append(
                {
                    "set": folder.name,
                    "id": sample.path.stem,
                    "lines": [{"t": n.text, "b": n.box, "c": n.confidence, "p": n.page, "l": n.letters} for n in result.lines],
                    "truth": {key: list(sample.accepted(key)) or None for key in sample.fields},
                }
            )
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    await asyncio.to_thread(out.write_text, text, encoding="utf-8")


def load_papers(path: Path) -> Iterator[Paper]:
    """Yield the papers of a file with one JSON object per line: `set`, `id`, `lines` and `truth`.

    A line has its text `t`, box `b`, confidence `c`, page `p` and confidences of letters `l`; `truth` maps a key to a value, a
    list of accepted ones, or null.
    """
    for text in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        found = {key: _values(value) for key, value in row["truth"].items()}
        truth = {key: values for key, values in found.items() if values is not None}
        yield Paper(row["set"], row["id"], tuple(_line(line) for line in row["lines"]), truth)


def _line(row: dict[str, Any]) -> Line:
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = row["b"]
    box = (x1, y1), (x2, y2), (x3, y3), (x4, y4)
    return Line(row["t"], box, row["c"], row["p"], letters=tuple(row["l"]))


def _values(truth: Any) -> tuple[str, ...] | None:
    """Return the accepted values, () for a value that is not printed, None for what cannot be compared (rows)."""
    if truth is None:
        return ()
    accepted = truth if isinstance(truth, list) else [truth]
    if any(value is None or isinstance(value, dict) for value in accepted):
        return None
    return tuple(map(str, accepted))


def agrees(answer: str, accepted: tuple[str, ...], type: FieldType) -> bool:
    """Return whether an answer is one of the accepted values: the same number, one of the days, the same letters.

    A printed line of a name of several lines counts, if it is of whole words and has five letters or more.
    """
    return any(_same(answer, value, type) for value in accepted)


def _same(answer: str, value: str, type: FieldType) -> bool:
    if normalise_key(answer) == normalise_key(value) and _signs(answer) == _signs(value):
        return True
    if type in (FieldType.NAME, FieldType.ADDRESS):
        return type is FieldType.NAME and _is_part(normalise_key(answer), value.split())
    if _UNIT.sub("", answer).strip() == value.strip():
        return True
    left, right = comparable(answer, type), comparable(value, type)
    if type in (FieldType.DATE, FieldType.DATETIME):
        return bool(set(left.split("|")) & set(right.split("|"))) and any(map(str.isdigit, left))
    return left == right and bool(left)


def _is_part(answer: str, words: list[str]) -> bool:
    """Return whether the answer is a run of the words of a name, long enough to stand for it."""
    runs = (words[a:b] for a in range(len(words)) for b in range(a + 1, len(words) + 1))
    return len(answer) >= _MIN_NAME and any(answer == normalise_key("".join(run)) for run in runs)


def _signs(text: str) -> list[str]:
    return _SIGNS.findall(text.replace("−", "-"))


def example_of(paper: Paper, rng: random.Random | None = None) -> Example | None:
    """Return a paper as an example; with `rng` in other words, with moved boxes and without some lines."""
    asked = [_question(key, accepted, rng) for key, accepted in paper.truth.items()]
    lines = paper.lines if rng is None else tuple(_moved(rng, line) for line in paper.lines if rng.random() > 0.01)
    return make_example(lines, list({q.spec.key: q for q in asked}.values()))


def _question(key: str, accepted: tuple[str, ...], rng: random.Random | None) -> Question:
    known = lookup(key)
    if rng and known and known.type is not FieldType.ROWS and rng.random() < 0.6:
        key = asked_words(rng, known.name, "en")
    spec = question(key, None).spec
    return Question(spec, _answers(accepted, spec.type if spec.name in KNOWN else FieldType.TEXT) if accepted else None)


def _answers(accepted: tuple[str, ...], type: FieldType) -> Check:
    def answers(candidate: Candidate) -> bool:
        return len(candidate.text) <= _MAX_VALUE and agrees(candidate.text, accepted, type)

    return answers


def _moved(rng: random.Random, line: Line) -> Line:
    dx, dy = rng.gauss(0, 1.5), rng.gauss(0, 1.0)
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = line.box
    box: Quad = (x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x3 + dx, y3 + dy), (x4 + dx, y4 + dy)
    return Line(line.text, box, line.confidence, line.page)
