"""Parameters and response of `/v1/ocr`. Parameters are form fields or JSON keys next to the image."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, RootModel, model_validator

from api.json_limits import parse_json
from hunyuanocr import types as t
from hunyuanocr.errors import BadRequest
from hunyuanocr.instructions import parse_instruction

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
    """Return `value`. Raises ValueError for unpaired surrogates and infinite numbers: responses repeat keys, texts and numbers.

    Python parses `1e999` as infinity and writes it as `Infinity`, which is not JSON.
    """
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("not valid Unicode text") from None
    except (RecursionError, TypeError, ValueError):
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
    pages: Literal["auto", "together", "separate"] = Field(
        "auto",
        description="Which pages are one document: `together` all, `separate` each page is a document of its own, `auto` a page "
        "begins a document if it has its own issuer and total. With `auto` and `separate`, several receipts in one picture "
        "are documents as well.",
    )
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

    async def parse_task(self) -> t.Task:
        """Return the task, parsed in a thread: a long instruction or schema takes milliseconds, which would block others.

        Raises InvalidValue, InvalidSchema, UnknownTask.
        """
        return await asyncio.to_thread(
            parse_instruction,
            self.instruction or "",
            task=self.task,
            fields=self.fields,
            schema=self.json_schema,
            language=self.language,
            evidence=self.evidence,
            pages=self.pages,
        )


class FieldsResponse(RootModel[dict[str, Any]]):
    """Response for `response=fields`: the requested fields by name."""

    # `not` keeps the two members of the union apart: without it, a whole OcrResponse would match this schema too.

    model_config = ConfigDict(
        json_schema_extra={"not": {"properties": {"success": {}, "elapsed_ms": {}}, "required": ["success", "elapsed_ms"]}}
    )
