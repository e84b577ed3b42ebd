"""What a language model wrote about a page → that page's part of a Reading. No engine and no waiting here."""

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
MARKUP_TASKS = (TaskKind.PARSE, TaskKind.TABLE, TaskKind.CHART, TaskKind.FORMULA)  # tasks whose answer is Markdown
ENDED_EARLY: Mapping[Finish, str] = {
    "length": "The answer reached its longest length; its end is missing.",
    "repetition": "The model began to repeat itself and was stopped; what follows on the page may be missing.",
}
# Where a loop is looked for, in characters (the official rule), and how long one must be: a row of dots is none.
FIRST_LOOP_CHECK = 4000
LOOP_CHECK_INTERVAL = 1000
MIN_LOOP_LENGTH = 200


@dataclass(frozen=True)
class Completion:
    """One generation: its tokens, its text (cut where the model repeated itself), how it ended, and what it took."""

    tokens: tuple[Token, ...]
    text: str
    finish: Finish
    usage: Usage

    def scores(self) -> TokenConfidence:
        """Probabilities by character; tokens that the grammar forced or the engine added tell nothing."""
        return TokenConfidence((t.text, None if t.forced or t.id < 0 else t.logprob) for t in self.tokens)

    @property
    def model_length(self) -> int:
        """Characters up to the ending that the engine gave to JSON when the tokens ran out; all of them where it gave none."""
        engines = sum(len(t.text) for t in self.tokens if t.id < 0)
        return len(self.text) - engines


@dataclass
class CompletionBuilder:
    """An answer while it is written. Only `free` text can repeat itself without end: a grammar has bounds."""

    free: bool
    tokens: list[Token] = field(default_factory=list)
    text: str = ""
    finish: Finish | None = None
    usage: Usage = field(default_factory=Usage)
    next_loop_check: int = FIRST_LOOP_CHECK

    def add(self, chunk: TokenChunk) -> str:
        """Take a chunk; its text."""
        piece = "".join(token.text for token in chunk.tokens)
        self.tokens += chunk.tokens
        self.text += piece
        self.finish = chunk.finish_reason or self.finish
        self.usage = chunk.usage if chunk.usage != Usage() else self.usage
        return piece

    def is_repeating(self) -> bool:
        """Whether the model repeats itself; looked for now and then while it writes."""
        if not self.free or self.finish is not None or len(self.text) < self.next_loop_check:
            return False
        self.next_loop_check = len(self.text) + LOOP_CHECK_INTERVAL
        if _is_loop(self.text):
            self.finish = "repetition"
        return self.finish is not None

    def build(self) -> Completion:
        """The whole. An answer that ran to its longest length in a loop is one that repeats itself, whenever it began."""
        if self.finish is None:
            raise BackendFailed("The model's engine ended without saying that the answer is complete.")
        if self.free and self.finish == "length" and _is_loop(self.text):
            self.finish = "repetition"
        text = self.text[: find_tail_repetition(self.text)] if self.finish == "repetition" else self.text
        usage = self.usage if self.usage != Usage() else Usage(0, sum(t.id >= 0 for t in self.tokens))
        return Completion(tuple(self.tokens), text, self.finish, usage)


def _is_loop(text: str) -> bool:
    loop = find_loop(text)
    return loop is not None and len(text) - loop.start >= MIN_LOOP_LENGTH


def truncation_warnings(written: Completion, pages: Sequence[Page]) -> tuple[ResultWarning, ...]:
    """A warning for every page whose answer is not whole."""
    message = ENDED_EARLY.get(written.finish)
    return tuple(ResultWarning("truncated", message, page.index) for page in pages) if message else ()


def parse_spotting(written: Completion, page: Page) -> tuple[str, tuple[Line, ...]]:
    """Text and lines of a spotting answer. Text that came without a place is in the text alone."""
    runs, scores = spotting.parse(written.text), written.scores()
    lines = [Line(r.text, _quad(r.box, page), scores.span(r.start, r.end), page.index) for r in runs if r.box]
    return "\n".join(run.text for run in runs), tuple(lines)


def _quad(box: spotting.Box, page: Page) -> Quad:
    """Thousandths of the page → pixels of the original."""
    rows, columns = page.pixels.shape[:2]
    x1, y1, x2, y2 = (n * size / spotting.SCALE for n, size in zip(box, (columns, rows, columns, rows), strict=True))
    return page.to_original(((x1, y1), (x2, y1), (x2, y2), (x1, y2)))


def parse_markup(kind: TaskKind, written: Completion) -> tuple[str, str | None]:
    """Text, and Markdown where the task's answer is a piece of a document."""
    if kind not in MARKUP_TASKS:
        return written.text.strip(), None
    if kind is TaskKind.FORMULA:
        formula = markdown.strip_math_delimiters(written.text)
        return formula, f"$$\n{formula}\n$$" if formula else ""
    text = markdown.strip_coordinates(markdown.strip_code_fence(written.text))
    text = markdown.close_tables(text) if written.finish != "stop" else text
    return text, text


@dataclass(frozen=True)
class ExtractedFields:
    """Fields of one page, or of all, and how sure the model was of each field and cell."""

    values: Mapping[str, Any]
    scores: Mapping[Cell, float | None]

    def confidences(self) -> dict[str, float]:
        """In the form of a Reading."""
        return {
            key if row is None or column is None else cell_key(key, row, column): score
            for (key, row, column), score in self.scores.items()
            if score is not None
        }


def parse_fields(written: Completion, keys: Sequence[str], page: Page) -> ExtractedFields:
    """The wanted fields of an answer in JSON. Raises OutputTruncated, or ReaderFailed where it is no JSON for another reason."""
    try:
        found = json_values.parse_object(written.text)
    except json_values.InvalidJson as e:
        if written.finish == "length":
            raise OutputTruncated(f"The answer for page {page.index + 1} was cut off before its JSON was complete.") from e
        raise BackendFailed(f"The model's answer for page {page.index + 1} is not the JSON that was asked for ({e}).") from e
    scores: dict[Cell, float | None] = {}
    by_place = written.scores()
    for leaf in json_values.iter_leaves(written.text):
        place = _place(leaf.path)
        nothing = leaf.null or leaf.start == leaf.end
        score = by_place.at(leaf.start) if nothing else by_place.span(leaf.start, leaf.end)
        if leaf.end >= written.model_length:  # cut off: whatever was written of it, its end is missing
            score = None
        scores[place] = _least(score, scores[place]) if place in scores else score
    return ExtractedFields({key: found.get(key) for key in keys}, scores)


def _place(path: json_values.Path) -> Cell:
    """The field, or the cell of its rows, that a value belongs to."""
    key, *rest = path
    if not rest or not isinstance(rest[0], int):
        return str(key), None, None
    return str(key), rest[0], str(rest[1]) if len(rest) > 1 and isinstance(rest[1], str) else "name"


def _least(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else min(a, b)


def merge_pages(found: Sequence[ExtractedFields], keys: Sequence[str]) -> ExtractedFields:
    """Fields of a document: the first page that has a value gives it; rows of all pages follow one another.

    A field that is on no page is as sure as the least sure of the pages that say so.
    """
    whole: dict[str, Any] = {}
    scores: dict[Cell, float | None] = {}
    for key in keys:
        having = [page for page in found if not _empty(page.values.get(key))]
        if any(isinstance(page.values[key], list) for page in having):
            having = [page for page in having if isinstance(page.values[key], list)]
            whole[key] = []
            for page in having:
                _append(key, page, whole[key], scores)
        elif having:
            whole[key] = having[0].values[key]
            scores[key, None, None] = having[0].scores.get((key, None, None))
        else:
            whole[key] = None
            known = [page.scores.get((key, None, None)) for page in found]
            scores[key, None, None] = min((k for k in known if k is not None), default=None) if None not in known else None
    return ExtractedFields(whole, scores)


def _append(key: str, page: ExtractedFields, rows: list[Any], scores: dict[Cell, float | None]) -> None:
    for (of, row, column), score in page.scores.items():
        if of == key and row is not None:
            scores[key, len(rows) + row, column] = score
    rows += page.values[key]


def _empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
