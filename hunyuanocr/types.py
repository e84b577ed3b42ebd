"""The data classes: pages, tasks, lines, fields, readings, results.

Frozen dataclasses, no behaviour beyond geometry. Boxes are quadrilaterals in pixels of the *original upright* image,
clockwise from the top-left corner; readers convert from their own coordinates once, through `Page.to_original`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]


class TaskKind(StrEnum):
    """What a person may ask of a picture."""

    READ = "read"  # all text, in reading order
    SPOT = "spot"  # text lines with their boxes
    EXTRACT = "extract"  # named fields as JSON
    PARSE = "parse"  # the document as Markdown
    TABLE = "table"  # a table as HTML
    FORMULA = "formula"  # a formula as LaTeX
    CHART = "chart"  # a chart as Markdown or Mermaid
    TRANSLATE = "translate"
    SUBTITLES = "subtitles"
    FREE = "free"  # the instruction goes to the model as it is


class FieldType(StrEnum):
    """How a field's value is normalised and compared."""

    TEXT = "text"
    NAME = "name"  # of a person, shop, hospital, drug
    ADDRESS = "address"
    MONEY = "money"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    PHONE = "phone"
    QUANTITY = "quantity"
    PERCENT = "percent"
    IDENTIFIER = "identifier"  # invoice number, tracking number, tax number …
    ROWS = "rows"  # line items


class EvidenceMode(StrEnum):
    """How a language model's value is proved: by the CPU backend, by a spotting pass of the model, or not at all."""

    FAST = "fast"
    FULL = "full"
    NONE = "none"


@dataclass(frozen=True)
class FieldSpec:
    """One field that is asked for. `key` is the answer's key, letter for letter; `name` the catalogue's, if known."""

    key: str
    name: str | None = None
    type: FieldType = FieldType.TEXT


@dataclass(frozen=True)
class Task:
    """What is to be done with the pages; made by `instructions.understand`."""

    kind: TaskKind
    instruction: str = ""
    fields: tuple[FieldSpec, ...] = ()
    schema: Mapping[str, Any] | None = None
    language: str | None = None  # target of a translation, ISO 639-1
    evidence: EvidenceMode = EvidenceMode.FAST
    max_tokens: int | None = None  # a client's own bound of what a language model writes, below the task's


@dataclass(frozen=True)
class ResultWarning:
    """A warning that goes with a result: a stable code, a sentence, and the page it is about."""

    code: str
    message: str
    page: int | None = None


@dataclass(frozen=True, eq=False)
class Page:
    """One upright RGB page. `pixels` is uint8 [h, w, 3], perhaps scaled down; `width` × `height` is the original's size."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    index: int = 0
    notices: tuple[ResultWarning, ...] = ()

    def to_original(self, points: Sequence[Sequence[float]]) -> Quad:
        """Four points in pixels of `pixels` → the original's pixels, clipped to the page."""
        rows, columns = self.pixels.shape[:2]
        sx, sy = self.width / columns, self.height / rows

        def place(p: Sequence[float]) -> Point:
            return (round(min(max(p[0] * sx, 0.0), self.width), 1), round(min(max(p[1] * sy, 0.0), self.height), 1))

        a, b, c, d = points
        return place(a), place(b), place(c), place(d)


@dataclass(frozen=True)
class Line:
    """A line of text and where it stands. `confidence` is the reader's own score in 0…1, or None."""

    text: str
    box: Quad
    confidence: float | None = None
    page: int = 0
    type: FieldType = FieldType.TEXT


@dataclass(frozen=True)
class Field:
    """An answer to a FieldSpec. `value` is as printed, None when it is not on the page; `rows` is for line items."""

    key: str
    type: FieldType
    value: str | None = None
    normalized: Any = None  # e.g. {"amount": "36.80", "currency": "CNY"} or "2026-11-20"; None if it cannot be determined
    box: Quad | None = None
    page: int | None = None
    confidence: float | None = None
    grounded: bool = False
    rows: tuple[Mapping[str, Field], ...] | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of a language model; zeros for a reader that has none."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class TextDelta:
    """A piece of text as it is written; the Reading that follows is the truth."""

    text: str


@dataclass(frozen=True)
class Progress:
    """How far a document of several pages has been read."""

    done: int
    pages: int


@dataclass(frozen=True)
class Reading:
    """What a backend read. `values` are fields as a language model wrote them (not yet typed or grounded), or None."""

    text: str
    lines: tuple[Line, ...] = ()
    values: Mapping[str, Any] | None = None
    confidences: Mapping[str, float] = field(default_factory=dict)  # of `values`, by key; of rows by `fields.answers.cell_key`
    markdown: str | None = None
    usage: Usage = Usage()
    finish_reason: Literal["stop", "length", "repetition"] = "stop"
    notices: tuple[ResultWarning, ...] = ()


@dataclass(frozen=True)
class Result:
    """The answer to one request; `api.schemas.common` turns it into the wire format."""

    id: str
    task: TaskKind
    text: str
    lines: tuple[Line, ...]
    fields: tuple[Field, ...]
    markdown: str | None
    page_sizes: tuple[tuple[int, int], ...]  # (width, height) of each original page
    backend: str
    model: str
    elapsed_ms: float
    answer: Mapping[str, Any] | None = None  # the fields object when a schema was given: normalised and validated
    notices: tuple[ResultWarning, ...] = ()
    truncated: bool = False
    usage: Usage = Usage()
