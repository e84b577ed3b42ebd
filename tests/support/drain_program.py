"""The appliance as `app_web.py` serves it, around a reader that takes as many seconds as the first argument says, or as long as
there is no file of that name.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import app_web
from api.app import create_app
from api.network import NetworkLimits
from hunyuanocr import log_setup
from hunyuanocr.config import load_settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from hunyuanocr.types import Page, Progress, Reading, Task, TextDelta
from tests.support.fake_backend import FakeBackend


class Told(FakeBackend):
    """Reads when the file is there."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        while not self._file.exists():
            await asyncio.sleep(0.05)
        async for part in super().read(pages, task):
            yield part


how_long = sys.argv[1]
reader = Told(Path(how_long)) if how_long.startswith("/") else FakeBackend(float(how_long))
settings = load_settings(server={"port": 0, "api_port": 0, "grace_s": float(sys.argv[2])}, pipeline={"cache_mb": 0})
log_setup.configure_logging(settings.log)
pipeline = Pipeline(reader, settings)
services, network = Services(settings, pipeline), NetworkLimits(settings)
apps = [create_app(settings, pipeline, services, network) for _ in range(2)]
with app_web.listening(settings) as (page, api):
    app_web.announce(settings, "A reader for tests.", page, api)
    sys.stdout.flush()
    sys.exit(asyncio.run(app_web.serve(apps[0], page, apps[1], api)))
