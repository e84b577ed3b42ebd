"""`/v1/admin/model`: replace the active model. Requires the scope `admin`."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from api.deps import PipelineDep
from api.errors import ErrorResponse
from api.openapi import operation_id
from api.routes.health import list_models
from api.schemas.common import Model
from hunyuanocr.config.base import UserPath
from hunyuanocr.errors import ConfigError, InvalidValue, MissingDependency, ModelLoading
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.model_memory import fits_second_model

router = APIRouter(prefix="/v1/admin", tags=["admin"], generate_unique_id_function=operation_id)

_ERROR_RESPONSES = {
    403: "The scope `admin` is required.",
    409: "Another model is being loaded.",
    422: "Invalid value, or the model cannot be loaded. The current model stays active.",
}


class SwapModelRequest(BaseModel):
    """The model to load. Parameters that are omitted keep their current value."""

    model_config = ConfigDict(extra="forbid")

    backend: Literal["torch", "vllm", "ppocr", "auto"] | None = Field(
        None, examples=["torch"], description="Recognition backend."
    )
    model_path: UserPath | None = Field(None, description="Folder of the weights on the server.", examples=["models/HunyuanOCR"])
    device: Literal["auto", "cpu", "cuda"] | None = Field(None, description="Compute device.")
    memory: Literal["auto", "beside", "replace"] = Field(
        "auto",
        description="`beside`: load the new model before unloading the current one; requests do not wait. `replace`: unload the "
        "current model first; requests wait until the new one is loaded. `auto`: `beside` if memory allows, else `replace`.",
    )


@router.post(
    "/model",
    summary="Replace the active model",
    responses={status: {"model": ErrorResponse, "description": text} for status, text in _ERROR_RESPONSES.items()},
)
async def swap_model(request: SwapModelRequest, pipeline: PipelineDep) -> Model:
    """Load and warm up another model or backend and switch to it. The current model finishes its running requests.

    The response is sent when the new model is active. If the new model cannot be loaded, the current one stays active.
    """
    if pipeline.is_swapping:
        raise ModelLoading("Another model is being loaded.")
    change = request.model_dump(exclude={"memory"}, exclude_none=True)
    swap_task = asyncio.create_task(_swap(pipeline, change, request.memory))
    await asyncio.shield(swap_task)  # a client that disconnects must not interrupt the replacement
    return (await list_models(pipeline)).data[0]


async def _swap(pipeline: Pipeline, change: dict[str, object], memory: str) -> None:
    settings = pipeline.active_settings.model_copy(update=change)
    concurrently = memory == "beside" or (memory == "auto" and await asyncio.to_thread(fits_second_model, settings))
    try:
        await pipeline.swap(settings, concurrently=concurrently)
    except (ConfigError, MissingDependency) as e:
        raise InvalidValue(e.message, hint=e.hint) from e
