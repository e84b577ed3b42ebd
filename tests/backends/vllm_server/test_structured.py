"""JSON of random weights through the live server: every whole answer is a document of its schema, a cut one is an error."""

import asyncio
import json
from random import Random
from typing import Any

import jsonschema
import pytest

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.backends.vlm.backend import VlmBackend
from hunyuanocr.errors import ImageTooLargeForMemory, InvalidSchema, OutputTruncated, UnreadableImage
from hunyuanocr.types import FieldSpec, Task, TaskKind
from tests.backends.contract import read, text_page
from tests.backends.vllm_server.conftest import Loop, noise, write
from tests.support.schemas import random_schema

pytestmark = pytest.mark.timeout(800)


@pytest.mark.parametrize(
    ("room", "least"), [(300, 50), pytest.param(8000, 90, marks=[pytest.mark.long, pytest.mark.timeout(1000)])]
)
def test_a_hundred_random_schemas(vllm: VllmGenerator, loop: Loop, room: int, least: int) -> None:
    """Random weights babble up to the longest strings and lists that a schema allows: not all of their answers come to an end
    within 300 tokens, nor all within 8,000.
    """
    places = asyncio.Semaphore(8)

    async def one(seed: int) -> str:
        schema = random_schema(Random(seed))
        async with places:
            answer = await write(vllm, Generation((noise(64, 64, seed),), str(seed), schema, room, 1.0))
        if answer.finish == "stop":
            jsonschema.validate(json.loads(answer.text), schema)
        return answer.finish

    async def everything() -> list[Any]:
        return await asyncio.gather(*(one(seed) for seed in range(100)))

    assert loop.run(everything(), 900).count("stop") >= least


def test_an_answer_that_is_cut_is_an_error(vllm: VllmGenerator, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompts' budget is made too small for it."""
    monkeypatch.setattr("hunyuanocr.prompts.FRAME_TOKENS", -80)
    task = Task(TaskKind.EXTRACT, "", fields=(FieldSpec("total_amount"), FieldSpec("merchant")))
    with pytest.raises(OutputTruncated) as cut:
        loop.run(read(VlmBackend(vllm), [text_page(["TOTAL 36.80"])], task))
    assert cut.value.code == "output_truncated"


@pytest.mark.parametrize(("request_", "error"), [
    (Generation((noise(10, 3000, 0),), "x"), UnreadableImage),
    (Generation(tuple(noise(1024, 1024, n) for n in range(8)), "x" * 9000), ImageTooLargeForMemory),
    (Generation((), "x", {}), InvalidSchema),
    (Generation((), "x", {"type": "nothing"}), InvalidSchema),
], ids=["elongated", "too long", "says nothing", "no schema"])  # fmt: skip
def test_what_cannot_be_answered_is_reported(vllm: VllmGenerator, loop: Loop, request_: Generation, error: Any) -> None:
    with pytest.raises(error):
        loop.run(write(vllm, request_))
