"""The wire: what a client gets back (pydantic at the edge, dataclasses inside). What it may send is in `api.schemas.ocr`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hunyuanocr import types as t


class ErrorResponse(BaseModel):
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


class HealthResponse(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class ReadyResponse(BaseModel):
    """The reader can answer."""

    ready: Literal[True] = True
    detail: str
    backend: str
    model: str
    store: str = Field(description="`ok`, `off`, or why answers are not recorded now.")


class VersionResponse(BaseModel):
    """What runs here."""

    name: str
    version: str
    backend: str
    model: str


class Model(BaseModel):
    """A reader, in the form of OpenAI's model list, with what it can do."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "local"
    backend: str
    tasks: list[t.TaskKind]
    ready: bool
    detail: str


class ModelList(BaseModel):
    """The readers that serve."""

    object: Literal["list"] = "list"
    data: list[Model]
