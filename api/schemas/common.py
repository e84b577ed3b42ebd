"""Responses that several routes share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hunyuanocr import types as t


class ErrorResponse(BaseModel):
    """Body of every error response."""

    model_config = ConfigDict(json_schema_extra={"examples": [{
        "detail": "The JPEG cannot be decoded.", "code": "unreadable_image",
        "hint": "The file is damaged or incomplete. Take or export the image again.",
        "request_id": "8f14e45fceea467f9b5c3c5ed3b2a1f0"}]})  # fmt: skip

    detail: str = Field(description="What went wrong, for people. The wording may change.")
    code: str = Field(description="Stable error code, for programs.")
    hint: str = Field(description="How to fix the problem.")
    request_id: str = Field(description="Id of the request, as in the server log. Quote it when you report a problem.")
    errors: list[dict[str, Any]] | None = Field(
        None, description="Status 422 only: `loc`, `msg` and `type` of each invalid value."
    )


class HealthResponse(BaseModel):
    """The process is running."""

    status: Literal["ok"] = "ok"


class ReadyResponse(BaseModel):
    """The server accepts requests."""

    ready: Literal[True] = True
    detail: str = Field(description="State of the backend.")
    backend: str = Field(description="Active recognition backend.")
    model: str = Field(description="Active model.")
    store: str = Field(description="`ok`, `off`, or the reason why results are not stored at the moment.")


class VersionResponse(BaseModel):
    """Version of the server, and the active backend and model."""

    name: str
    version: str
    backend: str
    model: str


class Model(BaseModel):
    """A model, in the format of OpenAI's model list, with the tasks that it supports."""

    id: str = Field(description="Name of the model.")
    object: Literal["model"] = "model"
    created: int = Field(description="Start time of the server, Unix time in seconds.")
    owned_by: str = "local"
    backend: str = Field(description="Recognition backend that runs the model.")
    tasks: list[t.TaskKind] = Field(description="Tasks that the backend supports.")
    ready: bool = Field(description="True if the backend accepts requests.")
    detail: str = Field(description="State of the backend.")


class ModelList(BaseModel):
    """List of the active models; it has one entry."""

    object: Literal["list"] = "list"
    data: list[Model]
