"""Parameters and response of `/v1/ocr`. Parameters are form fields or JSON keys next to the image."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from api.json_limits import parse_json
from hunyuanocr import types as t
from hunyuanocr.errors import BadRequest

_MAX_SCHEMA_LENGTH = 50_000  # characters of JSON
_MAX_SCHEMA_DEPTH = 40


def _split_names(value: Any) -> Any:
    """Return the list of names in a string: a JSON list, or names separated by `,`, `，` or `、`. Other values are unchanged."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _parse_json_text(value)
    names = value.replace("，", ",").replace("、", ",").split(",")
    return [name.strip() for name in names if name.strip()] or None


def _parse_json_text(value: Any) -> Any:
    """Parse a string as JSON: form fields carry JSON as text. Other values are unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value.encode())
    except BadRequest as e:
        raise ValueError(e.message) from None
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _require_unicode(value: Any) -> Any:
    """Return `value`. Raises ValueError for unpaired surrogates: the response repeats keys and texts, and must be UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("not valid Unicode text") from None
    except (RecursionError, TypeError):
        raise ValueError("not a JSON value") from None
    return value


def _limit_schema(value: Any, depth: int = 0) -> Any:
    """Return `value`. Raises ValueError for a large or deep schema: validating it takes time and stack by its size."""
    if depth == 0 and len(json.dumps(value)) > _MAX_SCHEMA_LENGTH:
        raise ValueError(f"longer than {_MAX_SCHEMA_LENGTH} characters")
    if depth > _MAX_SCHEMA_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_SCHEMA_DEPTH} levels")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _limit_schema(part, depth + 1)
    return value


Word = Annotated[Annotated[str, Field(max_length=4000)] | None, BeforeValidator(_require_unicode)]
Text = Annotated[str, BeforeValidator(_require_unicode)]
Name = Annotated[Annotated[str, Field(max_length=200)], BeforeValidator(_require_unicode)]
Schema = Annotated[dict[str, Any], BeforeValidator(_limit_schema), BeforeValidator(_require_unicode)]
Names = Annotated[list[Name], Field(max_length=100)]


class OcrRequest(BaseModel):
    """Parameters next to the image. Unknown keys are ignored: existing clients send keys of other services."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: Any) -> Any:
        """Drop empty and null values: many clients send them for parameters that they do not set."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None and not _is_blank(value)}

    instruction: Annotated[
        Word,
        Field(
            validation_alias=AliasChoices("instruction", "prompt"),
            examples=["提取总金额和日期"],
            description="What to extract, in free text, Chinese or English. Alias: `prompt`. Default: all text.",
        ),
    ] = None
    task: Annotated[
        Word,
        Field(
            examples=["extract"],
            description="Task, instead of deriving it from the instruction. One of: " + ", ".join(t.TaskKind) + ".",
            json_schema_extra={"enum": [*t.TaskKind]},
        ),
    ] = None
    fields: Annotated[
        Names | None,
        BeforeValidator(_split_names),
        Field(
            examples=[["total_amount", "date"]],
            description="Names of the fields to extract, used as keys in the response. In a form: separated by commas.",
        ),
    ] = None
    json_schema: Annotated[
        Schema | None,
        BeforeValidator(_parse_json_text),
        Field(
            validation_alias="schema",
            serialization_alias="schema",
            description="JSON Schema (type `object`) of `fields` in the response. The values are normalised to match it. "
            "Patterns use RE2 syntax, which has neither lookaround assertions nor backreferences.",
            examples=[{"type": "object", "properties": {"total_amount": {"type": ["number", "null"]}}}],
        ),
    ] = None
    language: Annotated[Word, Field(examples=["en"], description="Target language of a translation.")] = None
    evidence: Annotated[
        str,
        BeforeValidator(_require_unicode),
        Field(
            max_length=40,
            description="How values of a language model are located on the page: `fast` uses the CPU backend in parallel, "
            "`full` runs the model's own text spotting, `none` locates nothing.",
            json_schema_extra={"enum": [*t.EvidenceMode]},
        ),
    ] = "fast"
    device: Annotated[
        Annotated[str, Field(max_length=200)] | None,
        BeforeValidator(_require_unicode),
        Field(
            examples=["收银台1"],
            description="Name of the sending device, for searching records. Alternative: the header `X-Device`.",
        ),
    ] = None
    response: Literal["full", "fields"] = Field("full", description="`full`: the whole result. `fields`: only the fields object.")
    stream: bool = Field(
        False, description="Stream the result as server-sent events: text while it is generated, then the result."
    )


Box = list[tuple[float, float]]


class FieldDetail(BaseModel):
    """One extracted field: its printed value, its normalised value and its position."""

    value: str | None = Field(description="Value as printed; null if the field was not found.")
    type: t.FieldType
    normalized: Any = Field(None, description="Normalised value, for example amount and currency.")
    box: Box | None = Field(None, description="Corners in pixels of the upright original page, clockwise from top-left.")
    page: int | None = Field(None, description="Page number, from 0.")
    confidence: float | None = Field(None, description="From 0 to 1.")
    grounded: bool = Field(description="True if the value was located on the page.")

    @classmethod
    def of(cls, field: t.Field) -> FieldDetail:
        """Convert a Field of the pipeline."""
        return cls(
            value=field.value, type=field.type, normalized=field.normalized, box=_to_box(field.box), page=field.page,
            confidence=_round_confidence(field.confidence), grounded=field.grounded,
        )  # fmt: skip


class Line(BaseModel):
    """A line of text."""

    text: str
    box: Box = Field(description="Corners in pixels of the upright original page, clockwise from top-left.")
    confidence: float | None = Field(description="From 0 to 1; null if unknown.")
    type: t.FieldType
    page: int = Field(description="Page number, from 0.")


class Warning(BaseModel):
    """A problem that may affect the result, for example a blurred image."""

    code: str = Field(description="Stable warning code, for programs.")
    message: str = Field(description="The problem, for people.")
    page: int | None = Field(None, description="Page number, from 0; null for the whole document.")


class Usage(BaseModel):
    """Token counts of the language model; 0 for other backends."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: t.Usage) -> Usage:
        """Convert the token counts of the pipeline and add their sum."""
        total = usage.prompt_tokens + usage.completion_tokens
        return cls(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens, total_tokens=total)


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
    """Recognition result of one request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str = Field(description="Id of the result and of its record.")
    success: Literal[True] = True
    task: t.TaskKind
    text: str = Field(description="All text in reading order; empty if the page has none.")
    fields: dict[str, Any] = Field(description="The requested fields as printed; null for a field that is not on the page.")
    details: dict[str, FieldDetail | list[dict[str, FieldDetail]]] = Field(
        description="Details of each field; for a table, one object for each row."
    )
    lines: list[Line] = Field(description="Lines of text with their positions.")
    markdown: str | None = Field(None, description="The page as Markdown, for tasks that produce it.")
    width: int = Field(description="Width of the first page, upright, in pixels.")
    height: int = Field(description="Height of the first page, upright, in pixels.")
    page_sizes: list[tuple[int, int]] = Field(description="Width and height of each page, in pixels.")
    pages: int = Field(description="Number of pages.")
    warnings: list[Warning]
    truncated: bool = Field(description="True if the output was cut off.")
    usage: Usage
    backend: str = Field(description="Backend that produced the result.")
    model: str = Field(description="Model that produced the result.")
    elapsed_ms: float = Field(description="Processing time, in milliseconds.")

    @classmethod
    def of(cls, result: t.Result) -> OcrResponse:
        """Convert a Result of the pipeline."""
        width, height = result.page_sizes[0]
        return cls(
            id=result.id, task=result.task, text=result.text, markdown=result.markdown,
            fields=fields_object(result), details={f.key: _field_details(f) for f in result.fields},
            lines=[Line(text=n.text, box=list(n.box), confidence=_round_confidence(n.confidence), type=n.type, page=n.page)
                   for n in result.lines],
            width=width, height=height, page_sizes=list(result.page_sizes), pages=len(result.page_sizes),
            warnings=[Warning(code=w.code, message=w.message, page=w.page) for w in result.notices],
            truncated=result.truncated, backend=result.backend, model=result.model,
            usage=Usage.of(result.usage),
            elapsed_ms=max(0.1, round(result.elapsed_ms, 1)),
        )  # fmt: skip


class FieldsResponse(RootModel[dict[str, Any]]):
    """Response for `response=fields`: the requested fields by name."""

    # `not` keeps the two members of the union apart: without it, a whole OcrResponse would match this schema too.

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["success", "elapsed_ms"]}})


def fields_object(result: t.Result) -> dict[str, Any]:
    """Return the fields object: normalised values if the request has a schema, else printed values."""
    return dict(result.answer) if result.answer is not None else {f.key: _printed_value(f) for f in result.fields}


def _printed_value(field: t.Field) -> Any:
    return field.value if field.rows is None else [{k: v.value for k, v in row.items()} for row in field.rows]


def _field_details(field: t.Field) -> FieldDetail | list[dict[str, FieldDetail]]:
    if field.rows is None:
        return FieldDetail.of(field)
    return [{k: FieldDetail.of(v) for k, v in row.items()} for row in field.rows]


def _to_box(quad: t.Quad | None) -> Box | None:
    return None if quad is None else list(quad)


def _round_confidence(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)
