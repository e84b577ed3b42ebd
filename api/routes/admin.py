"""What only the owner does, with the scope `admin`: another model in the place of the one that serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.deps import PipelineDep
from api.routes.health import list_models
from api.schemas.common import ErrorResponse, Model
from hunyuanocr.errors import ConfigError, InvalidValue, MissingDependency, ModelLoading
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.model_memory import fits_second_model

router = APIRouter(prefix="/v1/admin", tags=["admin"])

_ERROR_RESPONSES = {
    403: "No key with the scope admin.",
    409: "Another model is being loaded.",
    422: "It cannot be loaded; the old one serves on.",
}


class SwapModelRequest(BaseModel):
    """What should serve; what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    backend: Literal["torch", "vllm", "ppocr", "auto"] | None = Field(None, examples=["torch"])
    model_path: Path | None = Field(None, description="Folder of the weights on this machine.", examples=["models/HunyuanOCR"])
    device: Literal["auto", "cpu", "cuda"] | None = None
    memory: Literal["auto", "beside", "replace"] = Field(
        "auto",
        description="beside: both are in memory for a while, and nobody waits; replace: the old one goes first, and requests "
        "wait until the new one is loaded; auto: beside where memory allows.",
    )


@router.post(
    "/model", responses={status: {"model": ErrorResponse, "description": why} for status, why in _ERROR_RESPONSES.items()}
)
async def swap_model(request: SwapModelRequest, pipeline: PipelineDep) -> Model:
    """Load and warm up another model or backend, switch to it, and let the old one finish what it began.

    Answers when the new one serves. If it does not load, the old one serves on.
    """
    if pipeline.is_swapping:
        raise ModelLoading("A model is being loaded already.")
    change = request.model_dump(exclude={"memory"}, exclude_none=True)
    swapping = asyncio.create_task(_swap(pipeline, change, request.memory))
    await asyncio.shield(swapping)  # a client that goes away does not leave the appliance without a model
    return (await list_models(pipeline)).data[0]


async def _swap(pipeline: Pipeline, change: dict[str, object], memory: str) -> None:
    settings = pipeline.active_settings.model_copy(update=change)
    beside = memory == "beside" or (memory == "auto" and await asyncio.to_thread(fits_second_model, settings))
    try:
        await pipeline.swap(settings, concurrently=beside)
    except (ConfigError, MissingDependency) as e:
        raise InvalidValue(e.message, hint=e.hint) from e
