"""One reader takes another's place while requests come in: real readers, real checkpoints with random weights."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import DeadlineExceeded, HunyuanOcrError, QueueFull, WeightsMissing
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.pipeline.active_backend import ActiveBackend, create_active_backend
from hunyuanocr.types import Result
from tests.support.checkpoints import random_checkpoint
from tests.support.fake_backend import wait_until

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("models")
    return random_checkpoint(home / "first"), random_checkpoint(home / "second", seed=2)


def settings(model: Path) -> Settings:
    return Settings(
        backend="torch",
        model_path=model,
        device="cpu",
        torch=TorchSettings(vram_gb=0.2, max_num_seqs=2),
        pipeline={"evidence_backend": "off", "cache_mb": 8, "queue_size": 4},
    )


def request(shade: int, **expected: Any) -> Request:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), (shade, 120, 90)).save(out, "PNG")
    return Request(data=out.getvalue(), task=parse_instruction(fields=["total"], evidence="none"), **expected)


@pytest.fixture
def may_load(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A reader that takes another's place is loaded while this is set, as it is at first."""
    event = asyncio.Event()
    event.set()

    def made(expected: Settings) -> ActiveBackend:
        one = create_active_backend(expected)
        start = one.backend.start

        async def started() -> None:
            await event.wait()
            await start()

        monkeypatch.setattr(one.backend, "start", started)
        return one

    monkeypatch.setattr("hunyuanocr.pipeline.pipeline.create_active_backend", made)
    return event


async def begun(model: Path) -> Pipeline:
    one = create_active_backend(settings(model))
    pipeline = Pipeline(one.backend, one.settings, one.evidence_backend, one.reason)
    await pipeline.start()
    return pipeline


@pytest.mark.parametrize("extra", [True, False])
async def test_requests_are_answered_through_a_swap_and_the_old_reader_ends_what_it_began(
    models: tuple[Path, Path], may_load: asyncio.Event, extra: bool
) -> None:
    pipeline = await begun(models[0])
    try:
        before = asyncio.gather(*(pipeline.run(request(shade)) for shade in range(3)))
        await wait_until(lambda: pipeline.admission.running + pipeline.admission.waiting == 3)
        if extra:
            may_load.clear()
        swapping = asyncio.create_task(pipeline.swap(settings(models[1]), concurrently=extra))
        await wait_until(lambda: pipeline.is_swapping and pipeline.gate.is_open == extra)
        during = await pipeline.run(request(200))
        may_load.set()
        await swapping
        after = await pipeline.run(request(210))
        assert {result.model for result in await before} == {"first"}
        assert during.model == ("first" if extra else "second"), "one waits for the other only where there is room for one"
        assert (after.model, pipeline.reason) == (
            "second",
            "HunyuanOCR (second) runs on the CPU (slow) because it was requested.",
        )
        assert (await pipeline.health()).ready
        assert (await pipeline.run(request(0))).model == "second", "the old model's answer is not given for the new one's"
    finally:
        await pipeline.close()


@pytest.mark.parametrize("extra", [True, False])
async def test_a_model_that_does_not_load_leaves_the_old_one_serving(
    models: tuple[Path, Path], tmp_path: Path, extra: bool
) -> None:
    pipeline = await begun(models[0])
    broken = random_checkpoint(tmp_path / "broken")
    (broken / "processor_config.json").write_text("{}")  # seen when it starts, not before
    try:
        with pytest.raises(WeightsMissing):
            await pipeline.swap(settings(tmp_path / "none"), concurrently=extra)
        with pytest.raises(HunyuanOcrError):
            await pipeline.swap(settings(broken), concurrently=extra)
        assert isinstance(await pipeline.run(request(7)), Result)
        assert pipeline.backend.model == "first"
        assert (await pipeline.health()).ready
        assert not pipeline.is_swapping
    finally:
        await pipeline.close()


async def test_who_comes_while_there_is_no_reader_waits_within_bounds(models: tuple[Path, Path], may_load: asyncio.Event) -> None:
    pipeline = await begun(models[0])
    try:
        may_load.clear()
        swapping = asyncio.create_task(pipeline.swap(settings(models[1]), concurrently=False))
        await wait_until(lambda: not pipeline.gate.is_open)
        first = asyncio.create_task(pipeline.run(request(1, deadline_s=3)))
        await wait_until(lambda: pipeline.gate.waiting == 1)
        others = [asyncio.create_task(pipeline.run(request(shade))) for shade in range(2, 9)]
        await asyncio.wait((first,))
        may_load.set()
        many = await asyncio.gather(first, *others, return_exceptions=True)
        await swapping
        assert isinstance(many[0], DeadlineExceeded)
        assert sum(isinstance(one, Result) for one in many) == 3, "four may wait, and one of these had no time"
        assert sum(isinstance(one, QueueFull) for one in many) == 4
        assert {one.retryable for one in many if isinstance(one, HunyuanOcrError)} == {True}
    finally:
        await pipeline.close()
