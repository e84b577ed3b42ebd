"""The wire: what a client gets back (pydantic at the edge, dataclasses inside). What it may send is in `api.params`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from hunyuanocr import types as t

Box = list[tuple[float, float]]


class DetailAnswer(BaseModel):
    """One field: its value as printed, normalised, and where it stands."""

    value: str | None
    type: t.FieldType
    normalized: Any = None
    box: Box | None = None
    page: int | None = None
    confidence: float | None = None
    grounded: bool = Field(description="False when the value was not found on the page.")

    @classmethod
    def of(cls, field: t.Field) -> DetailAnswer:
        """From the pipeline's Field."""
        return cls(
            value=field.value, type=field.type, normalized=field.normalized, box=_box(field.box), page=field.page,
            confidence=_score(field.confidence), grounded=field.grounded,
        )  # fmt: skip


class LineAnswer(BaseModel):
    """A line of text; the box is in pixels of the original upright page, clockwise from top-left."""

    text: str
    box: Box
    confidence: float | None
    type: t.FieldType
    page: int


class WarningAnswer(BaseModel):
    """Something to know about the answer, or to do better next time."""

    code: str
    message: str
    page: int | None = None


class UsageAnswer(BaseModel):
    """Tokens of the language model; zeros where there is none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: t.Usage) -> UsageAnswer:
        """With the sum."""
        both = usage.prompt_tokens + usage.completion_tokens
        return cls(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens, total_tokens=both)


_EXAMPLE: dict[str, Any] = {
    "id": "8f14e45fceea467f9b5c3c5ed3b2a1f0", "success": True, "task": "extract", "text": "便民超市\n合计 ¥36.80",
    "fields": {"total_amount": "¥36.80"},
    "details": {"total_amount": {
        "value": "¥36.80", "type": "money", "normalized": {"amount": "36.80", "currency": "CNY"},
        "box": [[310, 812], [421, 812], [421, 846], [310, 846]], "page": 0, "confidence": 0.98, "grounded": True}},
    "lines": [{"text": "合计 ¥36.80", "box": [[62, 812], [421, 812], [421, 846], [62, 846]], "confidence": 0.99,
               "type": "money", "page": 0}],
    "width": 937, "height": 1450, "page_sizes": [[937, 1450]], "pages": 1, "warnings": [],
    "truncated": False, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "backend": "ppocr", "model": "PP-OCRv6-small", "elapsed_ms": 412.0,
}  # fmt: skip


class OcrAnswer(BaseModel):
    """The answer to one request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    success: Literal[True] = True
    task: t.TaskKind
    text: str = Field(description="All text, in reading order; empty when there is none.")
    fields: dict[str, Any] = Field(description="Exactly the fields asked for, as printed; null when not on the page.")
    details: dict[str, DetailAnswer | list[dict[str, DetailAnswer]]]
    lines: list[LineAnswer]
    markdown: str | None = None
    width: int = Field(description="Of the first page, pixels, upright.")
    height: int
    page_sizes: list[tuple[int, int]]
    pages: int
    warnings: list[WarningAnswer]
    truncated: bool = Field(description="True when the text ended early.")
    usage: UsageAnswer
    backend: str
    model: str
    elapsed_ms: float

    @classmethod
    def of(cls, result: t.Result) -> OcrAnswer:
        """The pipeline's Result in the wire format of DESIGN.md §2."""
        width, height = result.page_sizes[0]
        return cls(
            id=result.id, task=result.task, text=result.text, markdown=result.markdown,
            fields=fields_of(result), details={f.key: _details(f) for f in result.fields},
            lines=[LineAnswer(text=n.text, box=list(n.box), confidence=_score(n.confidence), type=n.type, page=n.page)
                   for n in result.lines],
            width=width, height=height, page_sizes=list(result.page_sizes), pages=len(result.page_sizes),
            warnings=[WarningAnswer(code=w.code, message=w.message, page=w.page) for w in result.notices],
            truncated=result.truncated, backend=result.backend, model=result.model,
            usage=UsageAnswer.of(result.usage),
            elapsed_ms=max(0.1, round(result.elapsed_ms, 1)),
        )  # fmt: skip


class FieldsAlone(RootModel[dict[str, Any]]):
    """What `response=fields` answers: what was asked for, by name. An OcrAnswer is none."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["success", "elapsed_ms"]}})


def fields_of(result: t.Result) -> dict[str, Any]:
    """The fields object: normalised values when a schema was given, else values as printed."""
    return dict(result.answer) if result.answer is not None else {f.key: _printed(f) for f in result.fields}


def _printed(field: t.Field) -> Any:
    return field.value if field.rows is None else [{k: v.value for k, v in row.items()} for row in field.rows]


def _details(field: t.Field) -> DetailAnswer | list[dict[str, DetailAnswer]]:
    if field.rows is None:
        return DetailAnswer.of(field)
    return [{k: DetailAnswer.of(v) for k, v in row.items()} for row in field.rows]


def _box(quad: t.Quad | None) -> Box | None:
    return None if quad is None else list(quad)


def _score(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


class ErrorAnswer(BaseModel):
    """Every error: what went wrong, a stable code, what to do about it, and the id to tell the operator."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "detail": "The JPEG cannot be decoded.", "code": "unreadable_image",
        "hint": "The file is damaged or incomplete; take or save the picture again.",
        "request_id": "8f14e45fceea467f9b5c3c5ed3b2a1f0"}]})  # fmt: skip

    detail: str
    code: str
    hint: str
    request_id: str
    errors: list[dict[str, Any]] | None = Field(None, description="Of a 422: loc, msg and type of each mistake.")


class HealthAnswer(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(BaseModel):
    """The reader can answer."""

    ready: Literal[True] = True
    detail: str
    backend: str
    model: str
    store: str = Field(description="`ok`, `off`, or why answers are not recorded now.")


class VersionAnswer(BaseModel):
    """What runs here."""

    name: str
    version: str
    backend: str
    model: str


class ModelAnswer(BaseModel):
    """A reader, in the form of OpenAI's model list, with what it can do."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "local"
    backend: str
    tasks: list[t.TaskKind]
    ready: bool
    detail: str


class ModelsAnswer(BaseModel):
    """The readers that serve."""

    object: Literal["list"] = "list"
    data: list[ModelAnswer]
