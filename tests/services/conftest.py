"""A pipeline around a reader of the tests, and a watched folder around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.config import ImageSettings, PipelineSettings, Settings, WatchSettings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.result_schema import OcrResponse
from hunyuanocr.services.background_reader import BackgroundReader
from hunyuanocr.services.watch import Watcher, create_watcher
from hunyuanocr.types import Result
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def reader() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def pipeline(reader: FakeBackend) -> AsyncIterator[Pipeline]:
    made = Pipeline(reader, quick_settings())
    await made.start()
    yield made
    await made.close()


def quick_settings(**limits: Any) -> Settings:
    return Settings(images=ImageSettings(max_bytes=100_000), pipeline=PipelineSettings(**{"cache_mb": 0, **limits}))


def answer(result: Result) -> dict[str, Any]:
    return OcrResponse.of(result).model_dump(mode="json")


def watcher(folder: Path, pipeline: Pipeline, recorder: Any = None, on_filed: Any = None, **chosen: Any) -> Watcher:
    expected = WatchSettings(**{"folder": folder, "interval_s": 0.02, **chosen})
    return create_watcher(expected, pipeline.settings, BackgroundReader(pipeline), answer, recorder=recorder, on_filed=on_filed)


@asynccontextmanager
async def running(one: Watcher) -> AsyncIterator[Watcher]:
    """Watches while the block runs."""
    task = asyncio.create_task(one.run())
    try:
        yield one
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait((task,))
