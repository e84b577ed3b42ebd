"""Builds the API: `create_app(settings, pipeline=None)`. There is no app at module level."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from api import errors
from api.auth import login
from api.auth.authenticator import Authenticator
from api.auth.middleware import AuthMiddleware
from api.auth.openapi import add_security_schemes
from api.lifespan import lifespan
from api.middleware import RequestContext
from api.network import NetworkLimits, ProxyHeadersMiddleware, guard_inside, guard_outside
from api.routes import admin, batch, camera, chat, docs, health, jobs, keys, metrics, ocr, records, sync
from hunyuanocr import __version__
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services

log = logging.getLogger(__name__)

_ABOUT = "A photo and an instruction in, structured JSON with evidence out, on this machine."


def create_app(
    settings: Settings, pipeline: Pipeline | None = None, services: Services | None = None, network: NetworkLimits | None = None,
    gate: Authenticator | None = None,
) -> FastAPI:  # fmt: skip
    """The API around `pipeline`, or around one made for the settings' backend. Its life is the app's: started and closed with it.

    So is the life of `services`, what runs beside the requests; two apps of one process are given the same, and the same
    `network`, which counts what comes in, and the same `gate`, which knows who may.
    Raises ConfigError and MissingDependency when no reader or no store can be made of the settings.
    """
    if pipeline is None:
        from hunyuanocr.backends import create_backend, create_evidence_backend  # noqa: PLC0415 -- an app around a given pipeline needs no reader's packages

        backend, why = create_backend(settings)
        pipeline = Pipeline(backend, settings, create_evidence_backend(settings, backend), why)
        log.info("%s", why)
    app = FastAPI(title="HunyuanOCR", version=__version__, description=_ABOUT, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.settings, app.state.pipeline = settings, pipeline
    services = app.state.services = services or Services(settings, pipeline)
    gate = app.state.gate = gate or Authenticator(settings, services)
    network = app.state.network = network or NetworkLimits(settings)
    errors.register_exception_handlers(app)
    guard_inside(app, network)  # each is put around those before it: the last one is the first to see a request
    app.add_middleware(AuthMiddleware, gate=gate)
    guard_outside(app, network)
    app.add_middleware(RequestContext)
    app.add_middleware(ProxyHeadersMiddleware, network=network)
    for feature in (ocr, jobs, batch, chat, records, sync, health, metrics, camera, login, admin, keys, docs):
        app.include_router(
            feature.router, responses={} if feature is chat else errors.COMMON_RESPONSES
        )  # OpenAI's errors look otherwise
    docs.mount_assets(app)
    add_security_schemes(app)
    return app
