"""A started pipeline around a reader that the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from hunyuanocr.config import PipelineSettings, PpocrSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def make(reader: FakeBackend) -> AsyncIterator[Callable[..., Any]]:
    """`await make(queue_size=2, workers=1, …)` → a started pipeline, closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def build(workers: int = 1, **limits: Any) -> Pipeline:
            settings = Settings(ppocr=PpocrSettings(workers=workers), pipeline=PipelineSettings(**{"cache_mb": 0, **limits}))
            pipeline = Pipeline(reader, settings)
            await pipeline.start()
            stack.push_async_callback(pipeline.close)
            return pipeline

        yield build
