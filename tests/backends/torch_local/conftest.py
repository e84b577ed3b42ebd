"""Tiny matrices: a second thread costs more than it brings."""

import pytest
import torch

from tests.backends.torch_local.engines import Bench
from tests.support.checkpoints import random_checkpoint


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def bench(folder):
    made = Bench(folder)
    yield made
    made.close()
