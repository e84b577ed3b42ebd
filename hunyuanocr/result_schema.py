"""The JSON schema of a result: what /v1/ocr, the command line, watched folders and webhooks return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hunyuanocr import types as t

Box = list[tuple[float, float]]


class Doubt(BaseModel):
    """A reason to check a value."""

    code: str = Field(
        description="Stable code, for programs: `close_rival`, `weak_letters`, `uncertain_choice`, `ambiguous_date`, "
        "`invalid_checksum`, `embedded_data_differs`, and of a null value `value_not_certain`."
    )
    message: str = Field(description="The reason, for people.")


class Alternative(BaseModel):
    """Another value of the page that may be the answer."""

    value: str = Field(description="Value as printed.")
    box: Box | None = Field(description="Corners in pixels of the upright original page, clockwise from top-left.")
    page: int | None = Field(description="Page number, from 0.")
    confidence: float | None = Field(description="Probability that this is the answer, from 0 to 1.")


class FieldDetail(BaseModel):
    """One extracted field: its printed value, its normalised value and its position."""

    value: str | None = Field(description="Value as printed; null if the field was not found.")
    type: t.FieldType
    normalized: Any = Field(None, description="Normalised value, for example amount and currency.")
    box: Box | None = Field(None, description="Corners in pixels of the upright original page, clockwise from top-left.")
    page: int | None = Field(None, description="Page number, from 0.")
    confidence: float | None = Field(
        None, description="Probability that the answer is right, from 0 to 1; null if it is not known. Also that of a null value."
    )
    text_confidence: float | None = Field(None, description="Confidence of the letters, from 0 to 1.")
    grounded: bool = Field(description="True if the value was located on the page.")
    reason: t.NullReason | None = Field(
        None,
        description="Why the value is null. not_printed: the page has neither label nor value. label_without_value: the label is "
        "printed, a value was not found. unreadable: the letters could not be read reliably. unknown_field: the name is neither "
        "known nor printed on the page.",
        exclude_if=lambda reason: reason is None,
    )
    suggestions: list[str] = Field(
        [],
        description="Known names that an unknown name may mean, the most similar first.",
        exclude_if=lambda names: not names,
    )
    doubts: list[Doubt] = Field([], description="Reasons to check the answer.", exclude_if=lambda doubts: not doubts)
    alternatives: list[Alternative] = Field(
        [], description="Up to three other values that may be the answer.", exclude_if=lambda values: not values
    )
    document: int | None = Field(
        None,
        description="Index in `documents`; absent if the file is one document.",
        exclude_if=lambda document: document is None,
    )

    @classmethod
    def of(cls, field: t.Field) -> FieldDetail:
        """Convert a Field of the pipeline."""
        return cls(
            value=field.value,
            type=field.type,
            normalized=field.normalized,
            box=_to_box(field.box),
            page=field.page,
            confidence=_round_confidence(field.confidence),
            grounded=field.grounded,
            reason=field.reason,
            suggestions=list(field.suggestions),
            doubts=[Doubt(code=d.code, message=d.message) for d in field.doubts],
            text_confidence=_round_confidence(field.text_confidence),
            alternatives=[
                Alternative(value=a.value, box=_to_box(a.box), page=a.page, confidence=_round_confidence(a.confidence))
                for a in field.alternatives
            ],
            document=field.document,
        )


Details = dict[str, FieldDetail | list[dict[str, FieldDetail]]]


class Document(BaseModel):
    """One of several documents in a file."""

    page: int = Field(description="Number of its first page, from 0.")
    box: Box | None = Field(description="Its region on that page, as corners in pixels; null if it has no text.")
    fields: dict[str, Any] | None = Field(
        description="The requested fields of this document; null if it does not fit the schema of the request."
    )
    details: Details = Field(description="Details of each field of this document.")

    @classmethod
    def of(cls, document: t.Document, *, with_schema: bool) -> Document:
        """Convert a Document of the pipeline. `with_schema`: the request has a schema, which `fields` satisfies."""
        answer = document.answer if with_schema else _printed_values(document.fields)
        return cls(
            page=document.page,
            box=_to_box(document.box),
            fields=None if answer is None else dict(answer),
            details=_details(document.fields),
        )


class Line(BaseModel):
    """A line of text."""

    text: str
    box: Box = Field(description="Corners in pixels of the upright original page, clockwise from top-left.")
    confidence: float | None = Field(description="From 0 to 1; null if unknown.")
    type: t.FieldType
    page: int = Field(description="Page number, from 0.")


class Code(BaseModel):
    """A QR or bar code."""

    format: str = Field(description="`QRCode`, `DataMatrix`, `PDF417`, `Aztec`, `EAN13`, `Code128` and others.")
    text: str = Field(
        description="Payload of the code as text. It may be anything, also the address of a harmful website. U+FFFD replaces "
        "control characters."
    )
    box: Box = Field(description="Corners in pixels of the upright original page, clockwise from top-left.")
    page: int = Field(description="Page number, from 0.")
    meaning: dict[str, Any] | None = Field(
        None,
        description="The understood payload; null for others. `kind` is `fapiao` (the QR code of a Chinese invoice: type, code, "
        "number, amount, tax_included, date, check_code) or `epc_payment` (a SEPA payment: name, iban, bic, amount, currency, "
        "purpose, reference).",
    )


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
    "width": 937, "height": 1450, "page_sizes": [[937, 1450]], "pages": 1, "codes": [], "warnings": [],
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
    details: Details = Field(description="Details of each field; for a table, one object for each row.")
    documents: list[Document] = Field(
        [],
        description="The documents, if the file has several: receipts side by side in a photo, or different receipts in a PDF. "
        "`fields` and `details` are then those of the first one. Absent if the file is one document.",
        exclude_if=lambda documents: not documents,
    )
    lines: list[Line] = Field(description="Lines of text with their positions.")
    markdown: str | None = Field(None, description="The page as Markdown, for tasks that produce it.")
    width: int = Field(description="Width of the first page, upright, in pixels.")
    height: int = Field(description="Height of the first page, upright, in pixels.")
    page_sizes: list[tuple[int, int]] = Field(description="Width and height of each page, in pixels.")
    pages: int = Field(description="Number of pages.")
    codes: list[Code] = Field([], description="QR and bar codes of the pages, from top to bottom.")
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
            id=result.id,
            task=result.task,
            text=result.text,
            markdown=result.markdown,
            fields=fields_object(result),
            details=_details(result.fields),
            documents=[Document.of(d, with_schema=result.answer is not None) for d in result.documents],
            lines=[
                Line(text=n.text, box=list(n.box), confidence=_round_confidence(n.confidence), type=n.type, page=n.page)
                for n in result.lines
            ],
            width=width,
            height=height,
            page_sizes=list(result.page_sizes),
            pages=len(result.page_sizes),
            codes=[
                Code(
                    format=c.format,
                    text=c.text,
                    box=list(c.box),
                    page=c.page,
                    meaning=None if c.meaning is None else dict(c.meaning),
                )
                for c in result.codes
            ],
            warnings=[Warning(code=w.code, message=w.message, page=w.page) for w in result.notices],
            truncated=result.truncated,
            backend=result.backend,
            model=result.model,
            usage=Usage.of(result.usage),
            elapsed_ms=max(0.1, round(result.elapsed_ms, 1)),
        )


def fields_object(result: t.Result) -> dict[str, Any]:
    """Return the fields object: normalised values if the request has a schema, else printed values."""
    return dict(result.answer) if result.answer is not None else _printed_values(result.fields)


def _printed_values(fields: Sequence[t.Field]) -> dict[str, Any]:
    return {f.key: _printed_value(f) for f in fields}


def _details(fields: Sequence[t.Field]) -> Details:
    return {f.key: _field_details(f) for f in fields}


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
