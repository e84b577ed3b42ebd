"""The complete backend on PyTorch, from pages to Readings, with random weights."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from demo_model.chat_template import SPECIAL
from hunyuanocr.backends import create_backend
from hunyuanocr.backends.base import Backend
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.backends.vlm.backend import VlmBackend
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.types import EvidenceMode, FieldSpec, FieldType, Task, TaskKind
from tests.backends.contract import BackendContract, blank_page, read, text_page
from tests.support.checkpoints import byte_tokenizer, random_checkpoint


def settings(folder: Path, **options: Any) -> Settings:
    return Settings(
        backend="torch", model_path=folder, device="cpu", torch=TorchSettings(**{"dtype": "float32", "vram_gb": 0.4} | options)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(
        tmp_path_factory.mktemp("tiny"), text={"num_hidden_layers": 1}, vision={"num_hidden_layers": 1}, stop=6
    )


@pytest.fixture(scope="module")
def looping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that repeat "total" indefinitely: no layer adds anything, and this token has the largest embedding."""
    folder = random_checkpoint(tmp_path_factory.mktemp("looping"), text={"num_hidden_layers": 1})
    tokenizer = byte_tokenizer()
    token, user = tokenizer.encode("total", add_special_tokens=False), tokenizer.convert_tokens_to_ids(SPECIAL["user"])
    assert len(token) == 1
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")) and "language_model" in name:
            tensor.zero_()
        if name.endswith("embed_tokens.weight"):
            tensor[token[0]] *= 10
            tensor[user] = tensor[token[0]] / 10
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


class TestTorch(BackendContract):
    @pytest.fixture
    async def backend(self, folder: Path) -> AsyncIterator[Backend]:
        backend, why = create_backend(settings(folder))
        assert "because it was requested" in why
        await backend.start()
        yield backend
        await backend.close()


@pytest.fixture
async def backend(folder: Path) -> AsyncIterator[VlmBackend]:
    backend = VlmBackend(TorchGenerator(settings(folder)))
    await backend.start()
    yield backend
    await backend.close()


FIELDS = (
    FieldSpec("total_amount", "total_amount", FieldType.MONEY),
    FieldSpec("日期"),
    FieldSpec("items", "items", FieldType.ROWS),
)


@pytest.mark.parametrize("evidence", EvidenceMode)
async def test_fields_are_extracted_as_json(backend: VlmBackend, evidence: Any) -> None:
    reading = await read(backend, [text_page(["TOTAL 36.80"])], Task(TaskKind.EXTRACT, "", FIELDS, evidence=evidence))
    assert list(reading.values) == ["total_amount", "日期", "items"]
    for key in ("total_amount", "日期"):
        assert reading.values[key] is None or isinstance(reading.values[key], str)
        assert reading.confidences.get(key) is None or 0 <= reading.confidences[key] <= 1
    assert reading.values["items"] is None or all(isinstance(row, dict) for row in reading.values["items"])
    assert reading.usage.completion_tokens > 0


async def test_pages_are_read_concurrently_and_joined_in_order(backend: VlmBackend) -> None:
    reading = await read(
        backend, [text_page([f"PAGE {n}"], n) for n in range(6)], Task(TaskKind.READ, evidence=EvidenceMode.NONE)
    )
    single = [
        await read(backend, [text_page([f"PAGE {n}"], n)], Task(TaskKind.READ, evidence=EvidenceMode.NONE)) for n in range(6)
    ]
    assert reading.text == "\n\n".join(r.text for r in single if r.text)
    assert reading.usage.completion_tokens == sum(r.usage.completion_tokens for r in single)


async def test_repetition_is_stopped_and_reported(looping: Path) -> None:
    backend = VlmBackend(TorchGenerator(settings(looping)))
    await backend.start()
    try:
        reading = await read(backend, [blank_page()], Task(TaskKind.READ, evidence=EvidenceMode.NONE))
    finally:
        await backend.close()
    assert reading.finish_reason == "repetition"
    assert reading.text.endswith("total")
    assert not reading.text.endswith("totaltotal"), "the loop is trimmed to one repetition"
    assert 4000 / 5 <= reading.usage.completion_tokens < 4096 / 2, "stopped soon after the first loop check"
    assert [n.code for n in reading.notices] == ["truncated"]
