"""The wire: what a client may send beside its picture, as form fields or as JSON keys."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from starlette.requests import HTTPConnection

from api.json_limits import parse_json
from hunyuanocr import types as t
from hunyuanocr.errors import BadRequest

_MOST_LETTERS = 50_000  # of a schema
_MOST_DEPTH = 40


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
    if depth == 0 and len(json.dumps(value)) > _MOST_LETTERS:
        raise ValueError(f"longer than {_MOST_LETTERS} characters")
    if depth > _MOST_DEPTH:
        raise ValueError(f"nested deeper than {_MOST_DEPTH}")
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
            json_schema_extra={"enum": [*t.Evidence]},
        ),
    ] = "fast"
    device: Annotated[
        Annotated[str, Field(max_length=200)] | None,
        BeforeValidator(_encodable),
        Field(examples=["收银台1"], description="Who sends it, so that its records are found. Or the header `X-Device`."),
    ] = None
    response: Literal["full", "fields"] = Field("full", description="`fields` answers the fields object alone.")
    stream: bool = Field(False, description="Server-sent events: pieces of text as they are written, then the answer.")


def device_of(request: HTTPConnection, wanted: OcrRequest | None = None) -> str | None:
    """The device that a request names: in its body, or in the header `X-Device` (UTF-8; what is longer is cut)."""
    if wanted is not None and wanted.device is not None:
        return wanted.device
    given = request.headers.get("x-device", "").encode("latin-1").decode("utf-8", "replace").strip()
    return given[:200] or None
