"""Requests that are left free the engine; an engine that cannot start is reported in plain words, and repaired ones come back."""

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.backends.vllm_server.process import VllmProcess
from hunyuanocr.errors import BackendUnavailable, ConfigError
from tests.backends.vllm_server.conftest import START_S, Loop, all_gone, engines, noise, settings_of, write

pytestmark = pytest.mark.timeout(800)
ENDLESS = Generation(
    (noise(64, 64, 0),),
    "x",
    {"type": "object", "properties": {"a": {"enum": [list(range(900))]}}, "required": ["a"]},
    max_tokens=4000,
    repetition_penalty=1.0,
)


async def running(vllm: Any) -> int:
    """Requests in the engine, by its own account."""
    text = (await vllm.server.client.get("/metrics")).text
    counts = re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", text, re.MULTILINE)
    assert len(counts) == 2, "vLLM's names have changed"
    return int(sum(map(float, counts)))


async def until(condition: Callable[..., Any], seconds: int = 200) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await condition():
            return True
        await asyncio.sleep(0.05)
    return False


async def becomes(vllm: Any, count: int) -> bool:
    async def is_so() -> bool:
        return await running(vllm) == count

    return await until(is_so)


def test_a_request_that_is_left_leaves_no_running_sequence(vllm: VllmGenerator, loop: Loop) -> None:
    async def leave_early() -> None:
        assert await becomes(vllm, 0)
        async with aclosing(vllm.generate(ENDLESS)) as chunks:
            async for _ in chunks:
                break
            assert await becomes(vllm, 1)
        assert await becomes(vllm, 0)
        tasks = [asyncio.create_task(write(vllm, ENDLESS)) for _ in range(3)]
        assert await becomes(vllm, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await becomes(vllm, 0)

    loop.run(leave_early())


def test_weights_that_vllm_cannot_load_are_reported_with_its_words(
    checkpoint: Path, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VllmProcess, "max_early_exits", 1)  # else it tries three times, which takes three times as long
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"model_type": "abacus"}))
    vllm = VllmGenerator(settings_of(broken), broken)
    before = engines(os.getpid())
    with pytest.raises(ConfigError, match=r"vLLM does not start: .*abacus"):
        loop.run(vllm.start(), START_S)
    assert engines(os.getpid()) == before
    with pytest.raises(BackendUnavailable):
        loop.run(write(vllm, ENDLESS))
    loop.run(vllm.close())


@pytest.mark.long
def test_a_crash_loop_is_reported_and_ends_when_its_cause_does(
    checkpoint: Path, loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VllmProcess, "backoffs_s", (0.0, 0.5, 0.5, 5.0))
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    vllm = VllmGenerator(settings_of(folder), folder)

    async def loops() -> None:
        others = engines(os.getpid())
        await vllm.start()
        ours = [p for p in engines(os.getpid()) if p not in others]
        (folder / "config.json").rename(folder / "elsewhere.json")
        ours[-1].send_signal(signal.SIGKILL)

        async def is_reported() -> bool:
            return "times in a row" in (await vllm.health()).detail

        assert await until(is_reported, 120)
        health = await vllm.health()
        assert not health.ready
        assert "ModelConfig" in health.detail, "its own last words"
        with pytest.raises(BackendUnavailable, match="times in a row"):  # at once
            await write(vllm, Generation((), "x", max_tokens=4))
        (folder / "elsewhere.json").rename(folder / "config.json")

        async def is_back() -> bool:
            return (await vllm.health()).ready

        assert await until(is_back, START_S)
        assert (await write(vllm, Generation((), "x", max_tokens=4))).tokens
        assert all_gone(ours)

    try:
        loop.run(loops(), 400)
    finally:
        loop.run(vllm.close())
