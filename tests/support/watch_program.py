"""A watched folder as a program of its own, to be killed: `python -m tests.support.watch_program FOLDER [DEATHS]`.

After so many deaths at one picture it is given up.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hunyuanocr.backends.base import BackendName
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.watch.watcher import Watcher
from hunyuanocr.types import Progress, Reading, TextDelta
from tests.services.conftest import quick_settings, watcher
from tests.support.fake_backend import FakeBackend, colour

DEADLY = "#ff0000"  # the colour at which this reader takes the whole process down


class DeadlyReader(FakeBackend):
    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Progress | Reading]:
        if colour(pages[0]) == DEADLY:
            await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        async for part in super().read(pages, task):
            yield part


async def main(folder: Path) -> None:
    pipeline = Pipeline(DeadlyReader(seconds=0.02, name=BackendName.VLLM), quick_settings(evidence_backend="off"))
    await pipeline.start()
    one = watcher(folder, pipeline, csv=True)
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    await one.run(once=True)
    await pipeline.close()


if __name__ == "__main__":
    Watcher.max_attempts = int(sys.argv[2]) if len(sys.argv) > 2 else Watcher.max_attempts
    asyncio.run(main(Path(sys.argv[1])))
