"""Constrained output of the generator: with random weights, every output is a valid value of its schema."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import BackendUnavailable, ImageTooLargeForMemory, InvalidSchema
from tests.backends.torch_local.harness import noise
from tests.support.checkpoints import random_checkpoint
from tests.support.fake_backend import wait_until
from tests.support.schemas import random_schema

IMAGE = (noise(64, 64),)
TOTAL = {"type": "object", "properties": {"总金额": {"type": ["string", "null"], "maxLength": 20}}, "required": ["总金额"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("tiny"), text={"num_hidden_layers": 2, "max_position_embeddings": 2048})


@pytest.fixture
async def generator(folder: Path) -> AsyncIterator[Any]:
    generator = TorchGenerator(Settings(model_path=folder, device="cpu", torch=TorchSettings(dtype="float32", vram_gb=0.2)))
    await generator.start()
    yield generator
    await generator.close()


async def generate(generator: Any, **request: Any) -> Any:
    """(text, tokens, finish reason) of one generation."""
    async with contextlib.aclosing(generator.generate(Generation(**{"images": IMAGE, "prompt": "x"} | request))) as chunks:
        received = [chunk async for chunk in chunks]
    tokens = [t for chunk in received for t in chunk.tokens]
    assert all(chunk.finish_reason is None for chunk in received[:-1])
    assert received[-1].usage.prompt_tokens > 0
    return "".join(t.text for t in tokens), tokens, received[-1].finish_reason


async def test_two_hundred_random_schemas(generator: Any) -> None:
    """Each with a different prompt and a token limit that usually truncates the output."""

    async def one(seed: int) -> str:
        schema = random_schema(Random(seed))
        text, tokens, reason = await generate(generator, prompt=f"{seed}", schema=schema, max_tokens=8 + seed % 60)
        jsonschema.validate(json.loads(text), schema)
        assert all(t.logprob <= 0 for t in tokens)
        return reason

    assert set(await asyncio.gather(*(one(seed) for seed in range(200)))) == {"stop", "length"}


async def test_in_one_batch_with_unconstrained_requests(generator: Any) -> None:
    """Constrained and unconstrained requests share every step; neither affects the other."""
    alone = await generate(generator, prompt="free", max_tokens=60)
    free, *bound = await asyncio.gather(
        generate(generator, prompt="free", max_tokens=60),
        *(generate(generator, prompt=f"{n}", schema=TOTAL, max_tokens=60) for n in range(4)),
    )
    assert free[0] == alone[0]
    assert [t.logprob for t in free[1]] == pytest.approx([t.logprob for t in alone[1]], abs=1e-4)
    with pytest.raises(json.JSONDecodeError):
        json.loads(free[0])  # counter-example: without a grammar these weights do not produce JSON
    for text, tokens, _ in bound:
        assert set(json.loads(text)) == {"总金额"}
        assert any(t.forced for t in tokens)
        assert not all(t.forced for t in tokens)


async def test_truncated_json_is_completed(generator: Any) -> None:
    text, tokens, reason = await generate(generator, schema=TOTAL, max_tokens=2)
    assert reason == "length"
    assert json.loads(text)["总金额"] in (None, "")
    assert tokens[-1].id == -1
    assert tokens[-1].forced


async def test_errors_before_the_first_token(generator: Any) -> None:
    with pytest.raises(InvalidSchema):
        await generate(generator, schema={"type": "object", "properties": {"a": False}, "required": ["a"]})
    with pytest.raises(ImageTooLargeForMemory):
        await generate(generator, prompt="x" * (generator.loaded.max_tokens - 100))
    assert (await generate(generator, max_tokens=2))[2] == "length"


async def test_max_tokens_is_reduced_to_what_fits(generator: Any) -> None:
    """A long prompt reduces the output; the request is refused only if fewer than 256 tokens remain."""
    limit = generator.loaded.max_tokens
    _, tokens, reason = await generate(generator, prompt="x" * (limit - 400), max_tokens=4096)
    assert reason == "length"
    assert 256 <= len(tokens) < 400


async def test_closing_the_stream_early_frees_the_memory(generator: Any) -> None:
    async with contextlib.aclosing(generator.generate(Generation(IMAGE, "long", max_tokens=3000))) as chunks:
        async for _ in chunks:
            break
    assert (await generate(generator, max_tokens=3))[2] == "length"
    await wait_until(lambda: generator.engine.load == (0, 0, generator.loaded.kv_cache.tokens))


async def test_not_ready_before_start_and_after_close(folder: Path) -> None:
    generator = TorchGenerator(Settings(model_path=folder, device="cpu"))
    assert not (await generator.health()).ready
    with pytest.raises(BackendUnavailable):
        await generate(generator)
    await generator.close()
    await generator.close()
