"""Requests end and engines die: nothing goes on unseen, nothing hangs, nothing is left behind."""

import asyncio
import os
import re
import signal
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

import httpx
import psutil
import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.errors import ReaderUnavailable
from tests.appliance import appliance
from tests.backends.vllm_server.conftest import settings_of, write
from tests.backends.vllm_server.test_parity import noise

pytestmark = [pytest.mark.timeout(500), pytest.mark.long]
READ = {"instruction": "read", "evidence": "none"}
LONG = Generation((noise(64, 64, 0),), "x", max_tokens=4000, repetition_penalty=1.0)


async def running(vllm) -> float:
    text = (await vllm._server.client.get("/metrics")).text
    return sum(float(n) for n in re.findall(r"^vllm:num_requests_(?:running|waiting)\{[^}]*\} (\S+)", text, re.MULTILINE))


async def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if await condition():
            return True
        await asyncio.sleep(0.05)
    return False


def test_a_cancelled_request_leaves_no_running_sequence(vllm, loop):
    endless = Generation(LONG.images, "y", {"type": "object", "properties": {"a": {"type": "string", "minLength": 5000}},
                                            "required": ["a"]}, 4000, 1.0)  # fmt: skip

    async def leave_early():
        async with aclosing(vllm.generate(endless)) as chunks:
            async for _ in chunks:
                assert await running(vllm) == 1
                break
        assert await until(lambda: idle(vllm))
        tasks = [asyncio.create_task(write(vllm, endless)) for _ in range(3)]
        assert await until(lambda: busy(vllm, 3))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await until(lambda: idle(vllm))

    loop.run(leave_early())


async def idle(vllm) -> bool:
    return await running(vllm) == 0


async def busy(vllm, count) -> bool:
    return await running(vllm) >= count


def engines(parent: int) -> list[psutil.Process]:
    """All processes of vLLM under a process: guard, server, engine core, worker."""
    try:
        return [p for p in psutil.Process(parent).children(recursive=True) if ".venv-vllm" in _words(p) or "VLLM" in _words(p)]
    except psutil.NoSuchProcess:
        return []


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def gone(processes, seconds=15) -> bool:
    return not psutil.wait_procs(processes, timeout=seconds)[1]


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(2400)])])
def test_killed_under_load(checkpoint, loop, times):
    """Whichever of its processes is killed: every request ends, the next engine answers, and nothing of the old one stays."""
    vllm = VllmGenerator(settings_of(checkpoint), checkpoint)

    async def request(n):
        try:
            answer = await asyncio.wait_for(write(vllm, Generation((noise(64, 64, n),), str(n), max_tokens=300)), 120)
        except ReaderUnavailable:
            return "retry"
        return answer.finish

    async def kill(turn):
        ours = engines(os.getpid())
        load = [asyncio.create_task(request(n)) for n in range(6)]
        assert await until(lambda: busy(vllm, 1))
        victims = [p for p in ours if p.ppid() != os.getpid()]
        victims[turn % len(victims)].send_signal(signal.SIGKILL)
        began = time.monotonic()

        async def red():
            return not (await vllm.health()).ready

        assert await until(red, 60)
        ends = await asyncio.gather(*load)
        assert set(ends) <= {"stop", "length", "retry"}

        async def green():
            return (await vllm.health()).ready

        assert await until(green, 120)
        assert (await write(vllm, Generation((), "again", max_tokens=4))).tokens
        assert await asyncio.to_thread(gone, ours)
        return time.monotonic() - began

    async def kills():
        await vllm.start()
        return [await kill(turn) for turn in range(times)]

    try:
        seconds = loop.run(kills(), 110 * times)
        print(f"recovered after {', '.join(f'{s:.0f}' for s in seconds)} s")  # noqa: T201 -- shown by -rP
    finally:
        loop.run(vllm.close())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_appliance_is_the_end_of_the_engine(checkpoint, number):
    flags = ("--no-page", "--backend", "vllm", "--device", "cpu", "--model-path", str(checkpoint), "--vram-gb", "5")
    with appliance(*flags, "--dtype", "float32") as served:
        assert httpx.get(f"{served.api}/ready").status_code == 503
        served.until_ready(150)
        answer = httpx.post(f"{served.api}/ocr", files={"file": _png()}, data=READ, timeout=60)
        assert answer.status_code == 200
        assert (answer.json()["backend"], answer.json()["model"]) == ("vllm", "tiny-hunyuan")
        ours = engines(served.process.pid)
        assert len(ours) >= 3
        homes = {Path(p.cwd()) for p in ours}
        served.stop(number)
        assert gone(ours)
    assert not homes & set(Path(tempfile.gettempdir()).glob("hunyuanocr-vllm-*"))


def _png() -> bytes:
    import cv2

    return cv2.imencode(".png", noise(64, 64, 0))[1].tobytes()
