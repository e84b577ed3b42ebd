"""Readings in the background: as many as the reader reads at a time, and suspects alone."""

from __future__ import annotations

import asyncio

import pytest

from hunyuanocr.backends.base import BackendName
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.services.background_reader import BackgroundReader
from hunyuanocr.types import Task, TaskKind
from tests.services.conftest import quick_settings
from tests.support.fake_backend import FakeBackend, picture, wait_until


async def test_suspects_are_read_one_after_the_other() -> None:
    reader = FakeBackend(name=BackendName.VLLM)
    pipeline = Pipeline(reader, quick_settings(evidence_backend="off"))
    await pipeline.start()
    background = BackgroundReader(pipeline)

    async def read(n: int, suspect: bool) -> None:
        async with background.slot(suspect=suspect):
            await background.read(Request(picture(n), Task(TaskKind.READ)))

    reader.seconds = 0.02
    await asyncio.gather(*(read(n, True) for n in range(6)))
    assert reader.max_concurrent == 1
    reader.gate = asyncio.Event()
    reading = asyncio.gather(*(read(n, False) for n in range(6)))
    await wait_until(lambda: reader.now == 6)  # the others are not
    reader.gate.set()
    await reading
    await pipeline.close()


async def test_nothing_is_begun_before_the_reader_is_ready(reader: FakeBackend) -> None:
    pipeline = Pipeline(reader, quick_settings())
    background = BackgroundReader(pipeline)
    begun = asyncio.Event()

    async def hold() -> None:
        async with background.slot():
            begun.set()

    holding = asyncio.create_task(hold())
    await asyncio.sleep(0.3)
    assert not begun.is_set()
    await pipeline.start()
    await holding
    await pipeline.close()


async def test_another_model_may_read_more_at_a_time(reader: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(reader, quick_settings())
    await pipeline.start()
    background, held, leave = BackgroundReader(pipeline), [], asyncio.Event()

    async def hold(n: int) -> None:
        async with background.slot():
            held.append(n)
            await leave.wait()

    holding = [asyncio.create_task(hold(n)) for n in range(2)]
    await wait_until(lambda: held == [0])
    monkeypatch.setattr(Pipeline, "concurrency", property(lambda self: 4))
    holding += [asyncio.create_task(hold(n)) for n in range(2, 6)]
    await wait_until(lambda: len(held) == 5)
    assert 1 not in held, "one that waited for a place of before has its turn when that is free"
    leave.set()
    await asyncio.gather(*holding)
    assert sorted(held) == [0, 1, 2, 3, 4, 5]
    monkeypatch.undo()
    await pipeline.close()
