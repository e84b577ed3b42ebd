"""The API in process, and the API behind a real server on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.uvicorn_config import uvicorn_options
from hunyuanocr.config import ImageSettings, PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, wait_until


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()


Make = Callable[..., Any]


def quick_settings(**limits: Any) -> Settings:
    return Settings(
        images=ImageSettings(max_bytes=limits.pop("max_bytes", 2_000_000)), pipeline=PipelineSettings(**{"cache_mb": 0, **limits})
    )


@pytest.fixture
async def client(reader: FakeBackend) -> AsyncIterator[AppClient]:
    async with AsyncExitStack() as stack:
        yield await open_client(stack, quick_settings(), reader)


@pytest.fixture
async def make_client(reader: FakeBackend) -> AsyncIterator[Make]:
    """`await make_client(queue_size=1, …)` → a client of an API with these limits."""
    async with AsyncExitStack() as stack:

        async def make(**limits: Any) -> AppClient:
            return await open_client(stack, quick_settings(**limits), reader)

        yield make


async def open_client(stack: AsyncExitStack, settings: Settings, reader: FakeBackend) -> AppClient:
    """In process, lifespan included; ready when returned, unless the reader is one that fails to start."""
    pipeline = Pipeline(reader, settings)
    app = create_app(settings, pipeline)
    await stack.enter_async_context(app.router.lifespan_context(app))
    await wait_until(lambda: reader.started > 0 and not pipeline.is_swapping)
    return await stack.enter_async_context(AppClient(app))


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The app behind uvicorn on a free port of 127.0.0.1, in a thread; yields its address."""
    sockets = uvicorn_options(app.state.settings)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False, **sockets))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)


def wait_ready(base: str) -> None:
    """Until /ready is green; a reader that cannot start ends the wait."""
    while (r := httpx.get(f"{base}/ready", timeout=60)).status_code != 200:
        if "did not start" in r.json()["detail"]:
            raise RuntimeError(r.json()["detail"])
        time.sleep(0.05)


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    """The API with the CPU backend."""
    from hunyuanocr.backends import create_backend

    settings = Settings(backend="ppocr")
    backend, _ = create_backend(settings)
    with served(create_app(settings, Pipeline(backend, settings))) as base:
        wait_ready(base)
        yield base
