"""What routes are given: the pipeline, the settings, who asks; and a wait that ends when the client goes away."""

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
    """Whom the guard has let in. Without the guard nobody is served: there is nothing to take instead."""
    identity: Identity = request.scope["state"]["identity"]
    return identity


def _owner(request: HTTPConnection) -> str:
    """Whose things are seen."""
    return _identity(request).owner


def fair_key_of(request: HTTPConnection) -> str:
    """Among whose requests this one is counted where turns are shared out."""
    return _identity(request).fair_key(request.client.host if request.client else "")


PipelineDep = Annotated[Pipeline, Depends(_pipeline)]
SettingsDep = Annotated[Settings, Depends(_settings)]
ServicesDep = Annotated[Services, Depends(_services)]
IdentityDep = Annotated[Identity, Depends(_identity)]
OwnerDep = Annotated[str, Depends(_owner)]


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; when the client goes away first, the work is cancelled and ClientDisconnect raised.

    Call it after the body has been read: from then on `receive` has nothing to say but that the client is gone.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _authenticator(request: HTTPConnection) -> Authenticator:
    gate: Authenticator = request.app.state.gate
    return gate


AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]
