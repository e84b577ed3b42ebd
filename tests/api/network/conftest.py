"""The API in a process of its own, and clients that come from other addresses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest

from api.app import create_app
from hunyuanocr.config import NetworkSettings, PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import wait_ready
from tests.support.fake_backend import FakeBackend, wait_until

ROOT = Path(__file__).parents[3]
Come = Callable[..., httpx.AsyncClient]


@dataclass
class Child:
    """A running `program.py`."""

    port: int
    process: subprocess.Popen[str]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rss(self) -> int:
        """Bytes of memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def connections(self) -> int:
        """Open sockets, its listening one apart."""
        return sum(c.status == psutil.CONN_ESTABLISHED for c in psutil.Process(self.process.pid).net_connections("tcp"))


@contextmanager
def child(tmp_path: Path, **environment: str) -> Iterator[Child]:
    """Started, and ready; ended by its own process."""
    settings = {"HUNYUANOCR_DATA": str(tmp_path), "HUNYUANOCR_PIPELINE__CACHE_MB": "0"} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.server_program"],
        cwd=ROOT,
        env=os.environ | settings,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        running = Child(int(process.stdout.readline()), process)
        wait_ready(running.base)
        yield running
        assert process.poll() is None, "it has died"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
        process.stdout.close()


@pytest.fixture
def half_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """The window of rates slides over minutes of the clock, and its numbers are others where one ends: here it stands still."""
    now = time.time() // 60 * 60 + 30
    monkeypatch.setattr("limits.aio.storage.memory.time", SimpleNamespace(time=lambda: now))


@pytest.fixture
async def come(reader: FakeBackend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """`come = await shop(deny=[…])`, then `come("192.0.2.7")` → a client that comes from there."""
    async with AsyncExitStack() as stack:

        async def shop(**network: Any) -> Come:
            data = tmp_path_factory.mktemp("data")  # each server has one of its own
            settings = Settings(network=NetworkSettings(**network), pipeline=PipelineSettings(cache_mb=0), data=data)
            app = create_app(settings, Pipeline(reader, settings))
            await stack.enter_async_context(app.router.lifespan_context(app))
            await wait_until(lambda: reader.started > 0)

            def visit(address: str, **headers: str) -> httpx.AsyncClient:
                transport = httpx.ASGITransport(app, client=(address, 50_000))
                return httpx.AsyncClient(transport=transport, base_url="http://192.168.1.5", timeout=60, headers=headers)

            return visit

        yield shop


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()
