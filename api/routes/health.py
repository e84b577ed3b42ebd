"""Health, readiness, version and models."""

from __future__ import annotations

import time

from fastapi import APIRouter, HTTPException

from api.deps import PipelineDep, ServicesDep
from api.errors import ErrorResponse
from api.openapi import operation_id
from api.schemas.common import HealthResponse, Model, ModelList, ReadyResponse, VersionResponse
from hunyuanocr import __version__
from hunyuanocr.errors import BackendUnavailable, RendererUnavailable

router = APIRouter(tags=["status"], generate_unique_id_function=operation_id)
_STARTED_AT = int(time.time())


@router.get("/health", summary="Check that the process is running")
async def get_health() -> HealthResponse:
    """Liveness probe, for a watchdog that restarts a server that does not respond."""
    return HealthResponse()


@router.get(
    "/ready",
    summary="Check that the server accepts requests",
    responses={
        503: {"model": ErrorResponse, "description": "The backend is loading, failed to start, or is disabled after errors."}
    },
)
async def get_ready(pipeline: PipelineDep, services: ServicesDep) -> ReadyResponse:
    """Readiness probe, for a load balancer: the backend is loaded, and PDF files can be rendered.

    A database failure does not change the status. `store` reports it: results are then not stored.
    """
    state = await pipeline.health()
    if not state.ready:
        raise BackendUnavailable(state.detail)
    if (problem := await pipeline.decoding.problem()) is not None:
        raise RendererUnavailable(problem)
    store = "off" if services.database is None else services.database.trouble or services.recorder.last_error or "ok"
    return ReadyResponse(
        detail=pipeline.reason or state.detail, backend=pipeline.backend.name.value, model=pipeline.backend.model, store=store
    )


@router.get("/version", summary="Get the version")
async def get_version(pipeline: PipelineDep) -> VersionResponse:
    """Return the version of the server, and the active backend and model."""
    backend = pipeline.backend
    return VersionResponse(name="hunyuanocr-edge", version=__version__, backend=backend.name.value, model=backend.model)


@router.get("/v1/models", summary="List the models")
async def list_models(pipeline: PipelineDep) -> ModelList:
    """Return the active model and the tasks that it supports."""
    backend, state = pipeline.backend, await pipeline.health()
    model = Model(
        id=backend.model,
        created=_STARTED_AT,
        backend=backend.name.value,
        tasks=sorted(backend.tasks),
        scripts=list(backend.scripts),
        ready=state.ready,
        detail=pipeline.reason or state.detail,
    )
    return ModelList(data=[model])


@router.get(
    "/v1/models/{model:path}",
    summary="Get a model",
    responses={
        404: {"model": ErrorResponse, "description": "The model is not active."},
        422: {"model": ErrorResponse, "description": "Invalid parameter."},
    },
)
async def get_model(model: str, pipeline: PipelineDep) -> Model:
    """Return the active model, if it has this name."""
    (active,) = (await list_models(pipeline)).data
    if model != active.id:
        raise HTTPException(404, f"Model not found. The active model is '{active.id}'.")
    return active


for path, probe in (("/health", get_health), ("/ready", get_ready)):  # some watchdogs send HEAD requests
    router.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)
