"""Builds the API: `create_app(settings, pipeline=None)`. There is no app at module level."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import errors
from api.middleware import RequestContext
from api.routes import docs, ocr, status
from hunyuanocr import __version__
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline import Pipeline

log = logging.getLogger(__name__)

_ABOUT = "A photo and an instruction in, structured JSON with evidence out, on this machine."


def create_app(settings: Settings, pipeline: Pipeline | None = None) -> FastAPI:
    """The API around `pipeline`, or around one made for the settings' backend. Its life is the app's: started and closed with it.

    Raises ConfigError and MissingDependency when no reader can be made of the settings.
    """
    why = ""
    if pipeline is None:
        from hunyuanocr.backends import create_backend, create_witness  # noqa: PLC0415 -- an app around a given pipeline needs no reader's packages

        backend, why = create_backend(settings)
        pipeline = Pipeline(backend, settings, create_witness(settings, backend))
        log.info("%s", why)
    app = FastAPI(title="HunyuanOCR", version=__version__, description=_ABOUT, lifespan=_life, docs_url=None, redoc_url=None)
    app.state.settings, app.state.pipeline, app.state.why = settings, pipeline, why
    errors.install(app)
    app.add_middleware(RequestContext)
    for feature in (ocr, status, docs):
        app.include_router(feature.router)
    docs.mount_assets(app)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Load the reader beside the server: /health answers at once, /ready turns green when it is loaded."""
    pipeline: Pipeline = app.state.pipeline
    loading = asyncio.create_task(_load(pipeline))
    try:
        yield
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await pipeline.close()


async def _load(pipeline: Pipeline) -> None:
    try:
        await pipeline.start()
    except HunyuanOcrError as e:
        log.error("The reader did not start: %s %s", e.message, e.hint)
    except Exception:  # /ready tells it too; the API stays up to say so
        log.exception("The reader did not start.")
    else:
        log.info("The reader is ready: %s (%s).", pipeline.backend.model, pipeline.backend.name.value)
