"""Data classes: pages, tasks, lines, fields, readings, results.

Frozen dataclasses without behaviour beyond geometry. Boxes are quadrilaterals in pixels of the *original upright* image,
clockwise from the top-left corner; backends convert their coordinates with `Page.to_original`.
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
    """Kinds of tasks."""

    READ = "read"  # all text, in reading order
    SPOT = "spot"  # text lines with their boxes
    EXTRACT = "extract"  # named fields as JSON
    PARSE = "parse"  # the document as Markdown
    TABLE = "table"  # a table as HTML
    FORMULA = "formula"  # a formula as LaTeX
    CHART = "chart"  # a chart as Markdown or Mermaid
    TRANSLATE = "translate"
    SUBTITLES = "subtitles"
    FREE = "free"  # the instruction is passed to the model unchanged


class FieldType(StrEnum):
    """Types of fields, which determine how values are normalised and compared."""

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
    """How values of a language model are located on the page: by the CPU backend, by a spotting pass of the model, or not."""

    FAST = "fast"
    FULL = "full"
    NONE = "none"


class PagesMode(StrEnum):
    """Which pages of a file are one document."""

    AUTO = "auto"  # a page with its own issuer and total begins a new document; several papers in a picture are separated
    TOGETHER = "together"  # all pages are one document
    SEPARATE = "separate"  # each page is a document


@dataclass(frozen=True)
class FieldSpec:
    """A requested field. `key` is the exact key in the answer; `name` is the name in the catalogue, if known."""

    key: str
    name: str | None = None
    type: FieldType = FieldType.TEXT


@dataclass(frozen=True)
class Task:
    """What to do with the pages; created by `instructions.parse_instruction`."""

    kind: TaskKind
    instruction: str = ""
    fields: tuple[FieldSpec, ...] = ()
    schema: Mapping[str, Any] | None = None
    language: str | None = None  # target of a translation, ISO 639-1
    evidence: EvidenceMode = EvidenceMode.FAST
    max_tokens: int | None = None  # limit set by the client, if lower than that of the task
    pages: PagesMode = PagesMode.AUTO


@dataclass(frozen=True)
class ResultWarning:
    """A warning in a result: a stable code, a message, and the page it refers to."""

    code: str
    message: str
    page: int | None = None


@dataclass(frozen=True, eq=False)
class Page:
    """One upright RGB page. `pixels` is uint8 [h, w, 3], possibly scaled down; `width` × `height` is the original size."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    index: int = 0
    notices: tuple[ResultWarning, ...] = ()
    text_layer: tuple[Line, ...] = ()  # of a digital document: exact text, boxes in pixels of the original
    declared: Mapping[str, str] = field(
        default_factory=dict
    )  # of a document with an embedded e-invoice: field → value; on its first page

    def to_original(self, points: Sequence[Sequence[float]]) -> Quad:
        """Convert four points in pixels of `pixels` to pixels of the original, clipped to the page."""
        rows, columns = self.pixels.shape[:2]
        sx, sy = self.width / columns, self.height / rows

        def scale(p: Sequence[float]) -> Point:
            return (round(min(max(p[0] * sx, 0.0), self.width), 1), round(min(max(p[1] * sy, 0.0), self.height), 1))

        a, b, c, d = points
        return scale(a), scale(b), scale(c), scale(d)


@dataclass(frozen=True)
class Line:
    """A text line and its box. `confidence` is the score of the backend in 0…1, or None; `letters` that of each letter, or ()."""

    text: str
    box: Quad
    confidence: float | None = None
    page: int = 0
    type: FieldType = FieldType.TEXT
    letters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Code:
    """A QR or bar code. `text` is its payload; `meaning` the understood payload, whose `kind` says what it is, or None."""

    format: str  # "QRCode", "EAN13" …: a name of zxing-cpp
    text: str
    box: Quad
    page: int = 0
    meaning: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Doubt:
    """A reason to check a value: a stable code and a message."""

    code: str
    message: str


@dataclass(frozen=True)
class Alternative:
    """Another value of the page that may be the answer, and the probability that it is."""

    value: str
    box: Quad | None
    page: int | None
    confidence: float


NullReason = Literal["unknown_field", "not_printed", "label_without_value", "unreadable"]


@dataclass(frozen=True)
class Field:
    """The value of a FieldSpec. `value` is as printed, or None if it is not on the page; `rows` is for line items.

    `confidence` is the probability that the answer is right, also that of a missing value; None if it is not known.
    `text_confidence` is that of the letters.
    """

    key: str
    type: FieldType
    value: str | None = None
    normalized: Any = None  # e.g. {"amount": "36.80", "currency": "CNY"} or "2026-11-20"; None if unknown
    box: Quad | None = None
    page: int | None = None
    confidence: float | None = None
    grounded: bool = False
    rows: tuple[Mapping[str, Field], ...] | None = None
    reason: NullReason | None = None  # of a missing value
    suggestions: tuple[str, ...] = ()  # known names that an unknown field may mean
    doubts: tuple[Doubt, ...] = ()  # why a person should check the value
    text_confidence: float | None = None
    alternatives: tuple[Alternative, ...] = ()  # the likeliest first
    document: int | None = None  # index in `Result.documents`; None if the file is one document


@dataclass(frozen=True)
class Document:
    """One of several documents in a file. `box` is its region on `page`, the first of its pages; None if it has no text.

    `answer` is the fields object if the client sent a schema; None if the document does not fit the schema.
    """

    page: int
    box: Quad | None
    fields: tuple[Field, ...] = ()
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Usage:
    """Token counts of a language model; zero for other backends."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class TextDelta:
    """A piece of streamed text; the Reading that follows is authoritative."""

    text: str


@dataclass(frozen=True)
class Progress:
    """Progress of a document with several pages."""

    done: int
    pages: int


@dataclass(frozen=True)
class PageValues:
    """The fields of one page as a language model wrote them, and their confidences as in a Reading."""

    page: int
    values: Mapping[str, Any]
    confidences: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """The output of a backend. `values` are the fields as a language model wrote them, not yet typed or grounded, or None."""

    text: str
    lines: tuple[Line, ...] = ()
    values: Mapping[str, Any] | None = None
    confidences: Mapping[str, float] = field(
        default_factory=dict
    )  # of `values`, by key; of rows by `fields.field_builder.cell_key`
    markdown: str | None = None
    usage: Usage = Usage()
    finish_reason: Literal["stop", "length", "repetition"] = "stop"
    notices: tuple[ResultWarning, ...] = ()
    page_values: tuple[PageValues, ...] = ()  # `values` page by page, if there are several pages


@dataclass(frozen=True)
class Result:
    """The result of one request; `api.schemas.common` converts it to the response."""

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
    answer: Mapping[str, Any] | None = None  # the fields object if the client sent a schema: normalised and validated
    notices: tuple[ResultWarning, ...] = ()
    truncated: bool = False
    usage: Usage = Usage()
    codes: tuple[Code, ...] = ()
    documents: tuple[Document, ...] = ()  # if the file has several; `fields` and `answer` are those of the first
