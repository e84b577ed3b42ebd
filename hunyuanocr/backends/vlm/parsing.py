"""Parse what a language model generated for a page into that page's part of a Reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hunyuanocr.backends.base import Token, TokenChunk
from hunyuanocr.errors import BackendFailed, OutputTruncated
from hunyuanocr.fields.field_builder import cell_key
from hunyuanocr.output import json_values, markdown, spotting
from hunyuanocr.output.confidence import TokenConfidence
from hunyuanocr.output.repetition import find_loop, find_tail_repetition
from hunyuanocr.types import Line, Page, Quad, ResultWarning, TaskKind, Usage

Finish = Literal["stop", "length", "repetition"]
Cell = tuple[str, int | None, str | None]  # key of a field; row and column in it where it has rows
MARKUP_TASKS = (TaskKind.PARSE, TaskKind.TABLE, TaskKind.CHART, TaskKind.FORMULA)  # their answers are Markdown
ENDED_EARLY: Mapping[Finish, str] = {
    "length": "The result reached its maximum length; the rest of the page is missing.",
    "repetition": "The model repeated itself and was stopped; the rest of the page may be missing.",
}
# When the text is checked for a loop, and the minimum length of a loop, in characters. The first is the official rule.
FIRST_LOOP_CHECK = 4000
LOOP_CHECK_INTERVAL = 1000
MIN_LOOP_LENGTH = 200  # a row of dots is shorter


@dataclass(frozen=True)
class Completion:
    """One generation: its tokens, its text (without repetitions), its finish reason, and its usage."""

    tokens: tuple[Token, ...]
    text: str
    finish: Finish
    usage: Usage

    def scores(self) -> TokenConfidence:
        """Return probabilities by character, without tokens that the grammar forced or the engine added."""
        return TokenConfidence((t.text, None if t.forced or t.id < 0 else t.logprob) for t in self.tokens)

    @property
    def model_length(self) -> int:
        """Characters that the model generated; text by which the engine completed JSON is not counted."""
        completed = sum(len(t.text) for t in self.tokens if t.id < 0)
        return len(self.text) - completed


@dataclass
class CompletionBuilder:
    """Builds a Completion from chunks. Only `free` text can repeat itself indefinitely: a grammar has limits."""

    free: bool
    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    usage: Usage = field(default_factory=Usage)
    next_loop_check: int = FIRST_LOOP_CHECK

    def add(self, chunk: TokenChunk) -> str:
        """Add a chunk; return its text."""
        text = "".join(token.text for token in chunk.tokens)
        self.tokens += chunk.tokens
        self.text += text
        self.finish = chunk.finish_reason or self.finish
        self.usage = chunk.usage if chunk.usage != Usage() else self.usage
        return text

    def is_repeating(self) -> bool:
        """Return whether the model repeats itself; checked at intervals."""
        if not self.free or self.finish is not None or len(self.text) < self.next_loop_check:
            return False
        self.next_loop_check = len(self.text) + LOOP_CHECK_INTERVAL
        if _is_loop(self.text):
            self.finish = "repetition"
        return self.finish is not None

    def build(self) -> Completion:
        """Return the completion. An answer that reached its maximum length in a loop is finished by "repetition"."""
        if self.finish is None:
            raise BackendFailed("The model's engine ended without a finish reason.")
        if self.free and self.finish == "length" and _is_loop(self.text):
            self.finish = "repetition"
        text = self.text[: find_tail_repetition(self.text)] if self.finish == "repetition" else self.text
        usage = self.usage if self.usage != Usage() else Usage(0, sum(t.id >= 0 for t in self.tokens))
        return Completion(tuple(self.tokens), text, self.finish, usage)


def _is_loop(text: str) -> bool:
    loop = find_loop(text)
    return loop is not None and len(text) - loop.start >= MIN_LOOP_LENGTH


def truncation_warnings(completion: Completion, pages: Sequence[Page]) -> tuple[ResultWarning, ...]:
    """Return a warning for each page whose answer is incomplete."""
    message = ENDED_EARLY.get(completion.finish)
    return tuple(ResultWarning("truncated", message, page.index) for page in pages) if message else ()


def parse_spotting(completion: Completion, page: Page) -> tuple[str, tuple[Line, ...]]:
    """Return text and lines of a spotting answer. Text without coordinates has no line."""
    runs, scores = spotting.parse(completion.text), completion.scores()
    lines = [Line(r.text, _quad(r.box, page), scores.span(r.start, r.end), page.index) for r in runs if r.box]
    return "\n".join(run.text for run in runs), tuple(lines)


def _quad(box: spotting.Box, page: Page) -> Quad:
    """Convert thousandths of the page to pixels of the original image."""
    rows, columns = page.pixels.shape[:2]
    x1, y1, x2, y2 = (n * size / spotting.SCALE for n, size in zip(box, (columns, rows, columns, rows), strict=True))
    return page.to_original(((x1, y1), (x2, y1), (x2, y2), (x1, y2)))


def parse_markup(kind: TaskKind, completion: Completion) -> tuple[str, str | None]:
    """Return the text, and its Markdown if the task's answer is markup."""
    if kind not in MARKUP_TASKS:
        return completion.text.strip(), None
    if kind is TaskKind.FORMULA:
        formula = markdown.strip_math_delimiters(completion.text)
        return formula, f"$$\n{formula}\n$$" if formula else ""
    text = markdown.strip_coordinates(markdown.strip_code_fence(completion.text))
    text = markdown.close_tables(text) if completion.finish != "stop" else text
    return text, text


@dataclass(frozen=True)
class ExtractedFields:
    """Fields of one page or of a document, and the confidence of each field and cell."""

    values: Mapping[str, Any]
    scores: Mapping[Cell, float | None]

    def confidences(self) -> dict[str, float]:
        """Return the confidences by key, as a Reading holds them."""
        return {
            key if row is None or column is None else cell_key(key, row, column): score
            for (key, row, column), score in self.scores.items()
            if score is not None
        }


def parse_fields(completion: Completion, keys: Sequence[str], page: Page) -> ExtractedFields:
    """Return the requested fields of a JSON answer. Raises OutputTruncated, or BackendFailed for other invalid JSON."""
    try:
        values = json_values.parse_object(completion.text)
    except json_values.InvalidJson as e:
        if completion.finish == "length":
            raise OutputTruncated(f"The result of page {page.index + 1} was truncated before it was complete.") from e
        raise BackendFailed(f"The model's result for page {page.index + 1} is not valid JSON ({e}).") from e
    scores: dict[Cell, float | None] = {}
    confidence = completion.scores()
    for leaf in json_values.iter_leaves(completion.text):
        cell = _cell(leaf.path)
        empty = leaf.null or leaf.start == leaf.end
        score = confidence.at(leaf.start) if empty else confidence.span(leaf.start, leaf.end)
        if leaf.end >= completion.model_length:  # truncated: the end of the value is missing
            score = None
        scores[cell] = _min_score(score, scores[cell]) if cell in scores else score
    return ExtractedFields({key: values.get(key) for key in keys}, scores)


def _cell(path: json_values.Path) -> Cell:
    """Return the field, or the cell of its rows, of a value."""
    key, *rest = path
    if not rest or not isinstance(rest[0], int):
        return str(key), None, None
    return str(key), rest[0], str(rest[1]) if len(rest) > 1 and isinstance(rest[1], str) else "name"


def _min_score(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else min(a, b)


def merge_pages(pages: Sequence[ExtractedFields], keys: Sequence[str]) -> ExtractedFields:
    """Merge the fields of a document: each value is that of the first page that has it; the rows of all pages are joined.

    The confidence of a missing field is the lowest of all pages.
    """
    values: dict[str, Any] = {}
    scores: dict[Cell, float | None] = {}
    for key in keys:
        present = [page for page in pages if not _empty(page.values.get(key))]
        if any(isinstance(page.values[key], list) for page in present):
            present = [page for page in present if isinstance(page.values[key], list)]
            values[key] = []
            for page in present:
                _append(key, page, values[key], scores)
        elif present:
            values[key] = present[0].values[key]
            scores[key, None, None] = present[0].scores.get((key, None, None))
        else:
            values[key] = None
            known = [page.scores.get((key, None, None)) for page in pages]
            scores[key, None, None] = min((k for k in known if k is not None), default=None) if None not in known else None
    return ExtractedFields(values, scores)


def _append(key: str, page: ExtractedFields, rows: list[Any], scores: dict[Cell, float | None]) -> None:
    for (of, row, column), score in page.scores.items():
        if of == key and row is not None:
            scores[key, len(rows) + row, column] = score
    rows += page.values[key]


def _empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
