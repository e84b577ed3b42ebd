"""JSON from the engine itself: random weights write anything, and every answer is a document of its schema all the same."""

import asyncio
import contextlib
import json
from random import Random

import jsonschema
import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import BackendUnavailable, ImageTooLargeForMemory, InvalidSchema
from tests.backends.torch_local.engines import noise
from tests.support.checkpoints import random_checkpoint
from tests.support.fake_backend import wait_until
from tests.support.schemas import random_schema

PICTURE = (noise(64, 64),)
TOTAL = {"type": "object", "properties": {"总金额": {"type": ["string", "null"], "maxLength": 20}}, "required": ["总金额"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("tiny"), text={"num_hidden_layers": 2, "max_position_embeddings": 2048})


@pytest.fixture
async def generator(folder):
    made = TorchGenerator(Settings(model_path=folder, device="cpu", torch=TorchSettings(dtype="float32", vram_gb=0.2)))
    await made.start()
    yield made
    await made.close()


async def write(generator, **request):
    """(text, tokens, finish reason) of one generation."""
    async with contextlib.aclosing(generator.generate(Generation(**{"images": PICTURE, "prompt": "x"} | request))) as chunks:
        seen = [chunk async for chunk in chunks]
    tokens = [t for chunk in seen for t in chunk.tokens]
    assert all(chunk.finish_reason is None for chunk in seen[:-1])
    assert seen[-1].usage.prompt_tokens > 0
    return "".join(t.text for t in tokens), tokens, seen[-1].finish_reason


async def test_two_hundred_random_schemas(generator):
    """Each with a picture of its own and a budget that mostly ends in the middle."""

    async def one(seed: int) -> str:
        schema = random_schema(Random(seed))
        text, tokens, reason = await write(generator, prompt=f"{seed}", schema=schema, max_tokens=8 + seed % 60)
        jsonschema.validate(json.loads(text), schema)
        assert all(t.logprob <= 0 for t in tokens)
        return reason

    assert set(await asyncio.gather(*(one(seed) for seed in range(200)))) == {"stop", "length"}


async def test_side_by_side_with_free_text(generator):
    """Constrained and free requests share every step; neither changes the other."""
    alone = await write(generator, prompt="free", max_tokens=60)
    free, *bound = await asyncio.gather(
        write(generator, prompt="free", max_tokens=60),
        *(write(generator, prompt=f"{n}", schema=TOTAL, max_tokens=60) for n in range(4)),
    )
    assert free[0] == alone[0]
    assert [t.logprob for t in free[1]] == pytest.approx([t.logprob for t in alone[1]], abs=1e-4)
    with pytest.raises(json.JSONDecodeError):
        json.loads(free[0])  # the counter-case: without a grammar these weights write no JSON
    for text, tokens, _ in bound:
        assert set(json.loads(text)) == {"总金额"}
        assert any(t.forced for t in tokens)
        assert not all(t.forced for t in tokens)


async def test_an_answer_without_budget_is_closed(generator):
    text, tokens, reason = await write(generator, schema=TOTAL, max_tokens=2)
    assert reason == "length"
    assert json.loads(text)["总金额"] in (None, "")
    assert tokens[-1].id == -1
    assert tokens[-1].forced


async def test_errors_before_the_first_token(generator):
    with pytest.raises(InvalidSchema):
        await write(generator, schema={"type": "object", "properties": {"a": False}, "required": ["a"]})
    with pytest.raises(ImageTooLargeForMemory):
        await write(generator, prompt="x" * (generator.loaded.max_tokens - 100))
    assert (await write(generator, max_tokens=2))[2] == "length"


async def test_an_answer_has_what_room_there_is(generator):
    """A long prompt shortens the answer that it may have; it is refused only where next to none is left."""
    longest = generator.loaded.max_tokens
    _, tokens, reason = await write(generator, prompt="x" * (longest - 400), max_tokens=4096)
    assert reason == "length"
    assert 256 <= len(tokens) < 400


async def test_leaving_early_frees_the_engine(generator):
    async with contextlib.aclosing(generator.generate(Generation(PICTURE, "long", max_tokens=3000))) as chunks:
        async for _ in chunks:
            break
    assert (await write(generator, max_tokens=3))[2] == "length"
    await wait_until(lambda: generator._engine.load == (0, 0, generator.loaded.pool.tokens))


async def test_before_start_and_after_close_it_is_not_ready(folder):
    generator = TorchGenerator(Settings(model_path=folder, device="cpu"))
    assert not (await generator.health()).ready
    with pytest.raises(BackendUnavailable):
        await write(generator)
    await generator.close()
    await generator.close()
