"""FastAPI dependencies of the routes, and cancellation when the client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect, HTTPConnection

from api.auth.authenticator import Authenticator
from api.auth.identity import Identity
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services

T = TypeVar("T")


def _pipeline(request: HTTPConnection) -> Pipeline:
    pipeline: Pipeline = request.app.state.pipeline
    return pipeline


def _settings(request: HTTPConnection) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _services(request: HTTPConnection) -> Services:
    services: Services = request.app.state.services
    return services


def _identity(request: HTTPConnection) -> Identity:
    """Return the identity that `AuthMiddleware` has stored. Raises KeyError without the middleware: there is no default."""
    identity: Identity = request.scope["state"]["identity"]
    return identity


def owner_of(request: HTTPConnection) -> str:
    """Return the owner whose data the request may access."""
    return _identity(request).owner


def fair_key_of(request: HTTPConnection) -> str:
    """Return the key under which fair scheduling counts this request."""
    return _identity(request).fair_key(request.client.host if request.client else "")


PipelineDep = Annotated[Pipeline, Depends(_pipeline)]
SettingsDep = Annotated[Settings, Depends(_settings)]
ServicesDep = Annotated[Services, Depends(_services)]
IdentityDep = Annotated[Identity, Depends(_identity)]
OwnerDep = Annotated[str, Depends(owner_of)]


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`. If the client disconnects first, cancel `work` and raise ClientDisconnect.

    Call it after the request body has been read: from then on `receive` returns only the disconnect message.
    """
    work_task = asyncio.create_task(work)
    disconnect_task = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait((work_task, disconnect_task), return_when=asyncio.FIRST_COMPLETED)
        if not work_task.done():
            raise ClientDisconnect
        return work_task.result()
    finally:
        for task in (work_task, disconnect_task):
            task.cancel()
        await asyncio.gather(work_task, disconnect_task, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _authenticator(request: HTTPConnection) -> Authenticator:
    authenticator: Authenticator = request.app.state.authenticator
    return authenticator


AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]
