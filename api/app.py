"""Create the API: `create_app(settings, pipeline=None)`. There is no app at module level."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from api import errors
from api.auth.authenticator import Authenticator
from api.auth.openapi import add_security_schemes
from api.lifespan import lifespan
from api.middleware_stack import middleware_stack
from api.network import NetworkLimits
from api.routes import admin, batch, camera, chat, docs, health, jobs, keys, login, metrics, ocr, records, sync
from hunyuanocr import __version__
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services

log = logging.getLogger(__name__)

_DESCRIPTION = "Send a photo and an instruction, get structured JSON with evidence. Everything runs on this machine."
_ROUTES = (ocr, jobs, batch, chat, records, sync, health, metrics, camera, login, admin, keys, docs)


def create_app(
    settings: Settings,
    pipeline: Pipeline | None = None,
    services: Services | None = None,
    network: NetworkLimits | None = None,
    authenticator: Authenticator | None = None,
) -> FastAPI:
    """Return the API around `pipeline`, or around a new one for the backend of the settings.

    The app's lifespan starts and closes the pipeline and the services. Two apps of one process share `services` (background
    work), `network` (rate limits and counts) and `authenticator`. Raises ConfigError and MissingDependency when the settings of
    the backend or the store cannot work.
    """
    pipeline = pipeline or _create_pipeline(settings)
    services = services or Services(settings, pipeline)
    network = network or NetworkLimits(settings)
    authenticator = authenticator or Authenticator(settings, services)
    app = FastAPI(
        title="HunyuanOCR",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/"}],
        lifespan=lifespan,
        middleware=middleware_stack(network, authenticator),
    )
    state = app.state
    state.settings, state.pipeline, state.services = settings, pipeline, services
    state.network, state.authenticator = network, authenticator
    errors.register_exception_handlers(app)
    for feature in _ROUTES:
        responses = {} if feature is chat else errors.COMMON_RESPONSES  # chat answers errors in OpenAI's form
        app.include_router(feature.router, responses=responses)
    docs.mount_assets(app)
    add_security_schemes(app)
    return app


def _create_pipeline(settings: Settings) -> Pipeline:
    from hunyuanocr.backends import create_backend, create_evidence_backend  # noqa: PLC0415 -- not needed with a given pipeline

    backend, reason = create_backend(settings)
    log.info("%s", reason)
    return Pipeline(backend, settings, create_evidence_backend(settings, backend), reason)
