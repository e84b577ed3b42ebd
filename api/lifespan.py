"""The life of an app: what is started with it and closed after it, and in which order."""

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
    """Load the reader beside the server: /health answers at once, /ready turns green when it is loaded."""
    pipeline: Pipeline = app.state.pipeline
    services: Services = app.state.services
    gate: Authenticator = app.state.gate
    await services.start(SERIALIZERS)  # refuses a data folder that another server uses: before anything else is begun
    loading = asyncio.create_task(_load(pipeline))
    await gate.start()
    try:
        yield
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await services.stop()
        await pipeline.close()
        await gate.close()
        await services.close()


async def _load(pipeline: Pipeline) -> None:
    try:
        await pipeline.start()
    except HunyuanOcrError as e:
        log.error("The reader did not start: %s %s", e.message, e.hint)
    except Exception:  # /ready tells it too; the API stays up to say so
        log.exception("The reader did not start.")
    else:
        trim_memory()  # loading takes 100 MB that nothing else needs
        log.info("The reader is ready: %s (%s).", pipeline.backend.model, pipeline.backend.name.value)
