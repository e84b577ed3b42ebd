"""Start and shutdown of an app: which parts, in which order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api.auth.authenticator import Authenticator
from api.schemas.jobs import SERIALIZERS
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.malloc import trim_memory
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start the services and load the backend in the background: /health answers at once, /ready once the backend is loaded."""
    pipeline: Pipeline = app.state.pipeline
    services: Services = app.state.services
    authenticator: Authenticator = app.state.authenticator
    await services.start(SERIALIZERS)  # first: it fails when another server uses the data folder
    loading = asyncio.create_task(_load(pipeline))
    await authenticator.start()
    try:
        yield
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await services.stop()
        await pipeline.close()
        await authenticator.close()
        await services.close()


async def _load(pipeline: Pipeline) -> None:
    try:
        await pipeline.start()
    except HunyuanOcrError as e:
        log.error("The backend did not start: %s %s", e.message, e.hint)
    except Exception:  # the API keeps running, so that /ready can report it
        log.exception("The backend did not start.")
    else:
        trim_memory()  # loading needs 100 MB that are free again now
        log.info("The backend is ready: %s (%s).", pipeline.backend.model, pipeline.backend.name.value)
