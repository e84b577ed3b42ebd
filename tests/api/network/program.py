"""The API on a free port of this machine, in a process of its own, with a reader that takes no time; settings: the environment."""

import asyncio
import sys

import uvicorn

from api.app import create_app
from api.serving import server_options
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from tests.readers import TestReader


async def main() -> None:
    settings = load_settings()
    app = create_app(settings, Pipeline(TestReader(), settings))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False, **server_options(settings)))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # until the parent closes it
    server.should_exit = True
    await serving


asyncio.run(main())
