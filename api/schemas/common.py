"""Responses that several routes share."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from hunyuanocr import types as t


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
    scripts: list[str] = Field(description="Scripts that the model reads; empty if it is not limited to some.")
    ready: bool = Field(description="True if the backend accepts requests.")
    detail: str = Field(description="State of the backend.")


class ModelList(BaseModel):
    """List of the active models; it has one entry."""

    object: Literal["list"] = "list"
    data: list[Model]
