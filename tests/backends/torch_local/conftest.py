"""Fixtures of the PyTorch engine's tests. One thread: for tiny matrices a second one costs more than it gains."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.backends.torch_local.harness import EngineHarness
from tests.support.checkpoints import random_checkpoint


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def harness(folder: Path) -> Iterator[EngineHarness]:
    harness = EngineHarness(folder)
    yield harness
    harness.close()
