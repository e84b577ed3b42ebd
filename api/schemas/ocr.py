"""The wire: what a client may send beside its picture, as form fields or as JSON keys."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from api.json_limits import parse_json
from hunyuanocr import types as t
from hunyuanocr.errors import BadRequest

_MAX_LETTERS = 50_000  # of a schema
_MAX_DEPTH = 40


def _names(value: Any) -> Any:
    """A list as it is; a string as JSON list or as names between commas (, ， 、)."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _json(value)
    names = value.replace("，", ",").replace("、", ",").split(",")
    return [name.strip() for name in names if name.strip()] or None


def _json(value: Any) -> Any:
    """Forms carry JSON as text."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode())
    except BadRequest as e:
        raise ValueError(e.message) from None
    except (ValueError, RecursionError):
        raise ValueError("this is not JSON") from None


def _blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _encodable(value: Any) -> Any:
    """Half a surrogate pair cannot be written as UTF-8, and keys and words of the request come back in the answer."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("this is not Unicode text") from None
    except (RecursionError, TypeError):
        raise ValueError("this is not a plain value") from None
    return value


def _modest(value: Any, depth: int = 0) -> Any:
    """Checking a schema takes time and stack by its size; no honest one comes near these bounds."""
    if depth == 0 and len(json.dumps(value)) > _MAX_LETTERS:
        raise ValueError(f"longer than {_MAX_LETTERS} characters")
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _modest(part, depth + 1)
    return value


Word = Annotated[Annotated[str, Field(max_length=4000)] | None, BeforeValidator(_encodable)]
Text = Annotated[str, BeforeValidator(_encodable)]
Name = Annotated[Annotated[str, Field(max_length=200)], BeforeValidator(_encodable)]
Schema = Annotated[dict[str, Any], BeforeValidator(_modest), BeforeValidator(_encodable)]
Names = Annotated[list[Name], Field(max_length=100)]


class OcrRequest(BaseModel):
    """What may stand beside the picture. Unknown keys are ignored, so that older programs need no change."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        """Programs send '' or null for what they leave out: the default holds, and an alias is not hidden by it."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None and not _blank(value)}

    instruction: Annotated[
        Word,
        Field(
            validation_alias=AliasChoices("instruction", "prompt"),
            examples=["提取总金额和日期"],
            description="What is wanted, in free words, Chinese or English. Alias: `prompt`. Left out: all text.",
        ),
    ] = None
    task: Annotated[
        Word,
        Field(
            examples=["extract"],
            description="Instead of being understood from the instruction: " + ", ".join(t.TaskKind) + ".",
            json_schema_extra={"enum": [*t.TaskKind]},
        ),
    ] = None
    fields: Annotated[
        Names | None,
        BeforeValidator(_names),
        Field(
            examples=[["total_amount", "date"]],
            description="Fields to extract; they are the keys of the answer, letter for letter. In a form: separated by commas.",
        ),
    ] = None
    json_schema: Annotated[
        Schema | None,
        BeforeValidator(_json),
        Field(
            validation_alias="schema",
            serialization_alias="schema",
            description="JSON Schema of the answer's `fields` (type object); their values are then normalised and fit it. "
            "Patterns run in RE2: no look-around, no back-references.",
            examples=[{"type": "object", "properties": {"total_amount": {"type": ["number", "null"]}}}],
        ),
    ] = None
    language: Annotated[Word, Field(examples=["en"], description="Target of a translation.")] = None
    evidence: Annotated[
        str,
        BeforeValidator(_encodable),
        Field(
            max_length=40,
            description="How a language model's values are proved: `fast` has the CPU reader look at the page beside it, "
            "`full` has the model find all text itself, `none` looks nothing up.",
            json_schema_extra={"enum": [*t.EvidenceMode]},
        ),
    ] = "fast"
    device: Annotated[
        Annotated[str, Field(max_length=200)] | None,
        BeforeValidator(_encodable),
        Field(examples=["收银台1"], description="Who sends it, so that its records are found. Or the header `X-Device`."),
    ] = None
    response: Literal["full", "fields"] = Field("full", description="`fields` answers the fields object alone.")
    stream: bool = Field(False, description="Server-sent events: pieces of text as they are written, then the answer.")


Box = list[tuple[float, float]]


class FieldDetail(BaseModel):
    """One field: its value as printed, normalised, and where it stands."""

    value: str | None
    type: t.FieldType
    normalized: Any = None
    box: Box | None = None
    page: int | None = None
    confidence: float | None = None
    grounded: bool = Field(description="False when the value was not found on the page.")

    @classmethod
    def of(cls, field: t.Field) -> FieldDetail:
        """From the pipeline's Field."""
        return cls(
            value=field.value, type=field.type, normalized=field.normalized, box=_box(field.box), page=field.page,
            confidence=_score(field.confidence), grounded=field.grounded,
        )  # fmt: skip


class Line(BaseModel):
    """A line of text; the box is in pixels of the original upright page, clockwise from top-left."""

    text: str
    box: Box
    confidence: float | None
    type: t.FieldType
    page: int


class Warning(BaseModel):
    """Something to know about the answer, or to do better next time."""

    code: str
    message: str
    page: int | None = None


class Usage(BaseModel):
    """Tokens of the language model; zeros where there is none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: t.Usage) -> Usage:
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


class OcrResponse(BaseModel):
    """The answer to one request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    success: Literal[True] = True
    task: t.TaskKind
    text: str = Field(description="All text, in reading order; empty when there is none.")
    fields: dict[str, Any] = Field(description="Exactly the fields asked for, as printed; null when not on the page.")
    details: dict[str, FieldDetail | list[dict[str, FieldDetail]]]
    lines: list[Line]
    markdown: str | None = None
    width: int = Field(description="Of the first page, pixels, upright.")
    height: int
    page_sizes: list[tuple[int, int]]
    pages: int
    warnings: list[Warning]
    truncated: bool = Field(description="True when the text ended early.")
    usage: Usage
    backend: str
    model: str
    elapsed_ms: float

    @classmethod
    def of(cls, result: t.Result) -> OcrResponse:
        """The pipeline's Result in the wire format of DESIGN.md §2."""
        width, height = result.page_sizes[0]
        return cls(
            id=result.id, task=result.task, text=result.text, markdown=result.markdown,
            fields=fields_object(result), details={f.key: _details(f) for f in result.fields},
            lines=[Line(text=n.text, box=list(n.box), confidence=_score(n.confidence), type=n.type, page=n.page)
                   for n in result.lines],
            width=width, height=height, page_sizes=list(result.page_sizes), pages=len(result.page_sizes),
            warnings=[Warning(code=w.code, message=w.message, page=w.page) for w in result.notices],
            truncated=result.truncated, backend=result.backend, model=result.model,
            usage=Usage.of(result.usage),
            elapsed_ms=max(0.1, round(result.elapsed_ms, 1)),
        )  # fmt: skip


class FieldsResponse(RootModel[dict[str, Any]]):
    """What `response=fields` answers: what was asked for, by name. An OcrAnswer is none."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["success", "elapsed_ms"]}})


def fields_object(result: t.Result) -> dict[str, Any]:
    """The fields object: normalised values when a schema was given, else values as printed."""
    return dict(result.answer) if result.answer is not None else {f.key: _printed(f) for f in result.fields}


def _printed(field: t.Field) -> Any:
    return field.value if field.rows is None else [{k: v.value for k, v in row.items()} for row in field.rows]


def _details(field: t.Field) -> FieldDetail | list[dict[str, FieldDetail]]:
    if field.rows is None:
        return FieldDetail.of(field)
    return [{k: FieldDetail.of(v) for k, v in row.items()} for row in field.rows]


def _box(quad: t.Quad | None) -> Box | None:
    return None if quad is None else list(quad)


def _score(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)
