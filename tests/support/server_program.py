"""The API on a free port of 127.0.0.1, in a process of its own; settings come from the environment.

Its reader takes no time; with TEST_GATE it waits, between a first piece of text and the rest, until that file is there.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvicorn

from api.app import create_app
from api.uvicorn_config import uvicorn_options
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.types import Page, Progress, Reading, Task, TextDelta
from tests.support.fake_backend import FakeBackend


class Gated(FakeBackend):
    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        if gate := os.environ.get("TEST_GATE"):
            yield TextDelta("first")
            while not Path(gate).exists():
                await asyncio.sleep(0.05)
        async for part in super().read(pages, task):
            yield part


async def main() -> None:
    settings = load_settings()
    app = create_app(settings, Pipeline(Gated(), settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, **uvicorn_options(settings)))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    sys.stdout.write(f"{server.servers[0].sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)  # until the parent closes it
    server.should_exit = True
    await serving


asyncio.run(main())
