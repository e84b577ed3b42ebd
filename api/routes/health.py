"""Whether the appliance lives, whether it can read, what it is."""

from __future__ import annotations

import time

from fastapi import APIRouter, HTTPException

from api.deps import PipelineDep, ServicesDep
from api.schemas.common import ErrorResponse, HealthResponse, Model, ModelList, ReadyResponse, VersionResponse
from hunyuanocr import __version__
from hunyuanocr.errors import BackendUnavailable, RendererUnavailable

router = APIRouter(tags=["status"])
_STARTED = int(time.time())


@router.get("/health")
async def health() -> HealthResponse:
    """Alive: for a watchdog that restarts what hangs."""
    return HealthResponse()


@router.get("/ready", responses={503: {"model": ErrorResponse, "description": "Loading, failed to start, or at rest."}})
async def ready(pipeline: PipelineDep, services: ServicesDep) -> ReadyResponse:
    """The reader is loaded and can answer, and PDFs can be drawn: for a balancer that chooses where to send requests.

    A database that is away does not change that, but is told: answers are not recorded then.
    """
    found = await pipeline.health()
    if not found.ready:
        raise BackendUnavailable(found.detail)
    if (problem := await pipeline.decoding.problem()) is not None:
        raise RendererUnavailable(problem)
    store = "off" if services.database is None else services.database.trouble or services.recorder.last_error or "ok"
    return ReadyResponse(
        detail=pipeline.reason or found.detail, backend=pipeline.backend.name.value, model=pipeline.backend.model, store=store
    )


@router.get("/version")
async def version(pipeline: PipelineDep) -> VersionResponse:
    """What runs here."""
    backend = pipeline.backend
    return VersionResponse(name="hunyuanocr-edge", version=__version__, backend=backend.name.value, model=backend.model)


@router.get("/v1/models")
async def list_models(pipeline: PipelineDep) -> ModelList:
    """The reader that serves and the tasks it can do."""
    backend, found = pipeline.backend, await pipeline.health()
    reader = Model(
        id=backend.model, created=_STARTED, backend=backend.name.value, tasks=sorted(backend.tasks), ready=found.ready,
        detail=pipeline.reason or found.detail,
    )  # fmt: skip
    return ModelList(data=[reader])


@router.get("/v1/models/{model:path}", responses={404: {"model": ErrorResponse, "description": "Another reader serves."}})
async def get_model(model: str, pipeline: PipelineDep) -> Model:
    """One reader, by its name."""
    (reader,) = (await list_models(pipeline)).data
    if model != reader.id:
        raise HTTPException(404, f"The reader that serves is called '{reader.id}'.")
    return reader


for path, probe in (("/health", health), ("/ready", ready)):  # some watchdogs look at the head alone
    router.add_api_route(path, probe, methods=["HEAD"], include_in_schema=False)
