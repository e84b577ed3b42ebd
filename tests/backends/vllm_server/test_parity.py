"""Both engines on one checkpoint: the same pictures and words give the same tokens and the same Reading."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from hunyuanocr.backends.base import Generation, Generator, TokenChunk
from hunyuanocr.backends.vllm_server import VllmGenerator
from hunyuanocr.backends.vlm.backend import VlmBackend
from hunyuanocr.types import EvidenceMode, FieldSpec, Task, TaskKind
from tests.backends.contract import read, text_page
from tests.backends.vllm_server.conftest import Loop, noise, write

pytestmark = pytest.mark.timeout(800)  # the first test waits for the engine's start
APART = 2e-4  # of log-probabilities: both compute in float32, in another order
SHORT = {
    "type": "object", "required": ["总金额", "n", "paid", "note"], "additionalProperties": False,
    "properties": {
        "总金额": {"type": ["string", "null"], "maxLength": 8}, "n": {"type": "number", "minimum": 0, "maximum": 500},
        "paid": {"enum": ["现金", "card", None]}, "note": {"type": "string", "maxLength": 3},
    },
}  # fmt: skip
BABBLE = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 40}, "b": {"type": "string"}},
    "required": ["a", "b"],
}


class Short:
    """An engine whose answers are short: random weights seldom end one."""

    def __init__(self, engine: Generator) -> None:
        self.name, self.model, self._engine = engine.name, engine.model, engine

    def generate(self, request: Any) -> AsyncIterator[TokenChunk]:
        return self._engine.generate(replace(request, max_tokens=min(request.max_tokens, 60)))


@pytest.mark.parametrize(("sizes", "words", "penalty"), [
    ([(64, 64)], "提取图中的文字。", 1.08),
    ([(90, 200)], "read it", 1.08),
    ([(300, 170)], "检测并识别图片中的文字，将文本坐标格式化输出。", 1.0),
    ([(1300, 900)], "large: scaled down by both", 1.08),
    ([(20, 30)], "small: scaled up by both", 1.3),
    ([(100, 60), (300, 900)], "wider and lower: what Pillow 13 would scale to other pixels", 1.08),
    ([(64, 96), (64, 64)], "two pictures", 1.08),
    ([], "no picture", 1.08),
])  # fmt: skip
def test_tokens_texts_and_scores_are_the_same(
    vllm: VllmGenerator, torch_engine: Generator, loop: Loop, sizes: list[Any], words: str, penalty: float
) -> None:
    pictures = tuple(noise(width, height, seed) for seed, (width, height) in enumerate(sizes))
    request = Generation(pictures, words, max_tokens=48, repetition_penalty=penalty)
    one, other = loop.run(write(vllm, request)), loop.run(write(torch_engine, request))
    assert one.ids == other.ids
    assert [t.text for t in one.tokens] == [t.text for t in other.tokens]
    assert (one.finish, one.usage) == (other.finish, other.usage)
    assert [t.logprob for t in one.tokens] == pytest.approx([t.logprob for t in other.tokens], abs=APART)


@pytest.mark.parametrize("seed", range(4))
def test_constrained_tokens_are_the_same(vllm: VllmGenerator, torch_engine: Generator, loop: Loop, seed: Any) -> None:
    request = Generation((noise(64 + 32 * seed, 128, seed),), f"{seed}", SHORT, max_tokens=200, repetition_penalty=1.0)
    one, other = loop.run(write(vllm, request)), loop.run(write(torch_engine, request))
    assert one.finish == other.finish == "stop"
    assert (one.ids, one.text, one.usage) == (other.ids, other.text, other.usage)
    assert [t.forced for t in one.tokens] == [t.forced for t in other.tokens]
    assert [t.logprob for t in one.tokens] == pytest.approx([t.logprob for t in other.tokens], abs=APART)
    assert min(t.logprob for t in one.tokens if t.forced) < -1, "not the probabilities under the mask, which are all 1 there"


def test_strings_end_at_the_schemas_longest_length_in_both(vllm: VllmGenerator, torch_engine: Generator, loop: Loop) -> None:
    """Counted by our plugin in vLLM, by our own engine there; characters of several tokens count as one."""
    request = Generation((noise(96, 96, 5),), "babble", BABBLE, max_tokens=400, repetition_penalty=1.0)
    one, other = loop.run(write(vllm, request)), loop.run(write(torch_engine, request))
    assert (one.ids, one.text, one.finish) == (other.ids, other.text, other.finish)
    assert one.finish == "stop"
    assert max(len(value) for value in json.loads(one.text).values()) in range(40, 48), "the last token may run over"


@pytest.mark.parametrize(
    "task",
    [
        Task(TaskKind.READ, "read", evidence=EvidenceMode.NONE),
        Task(TaskKind.SPOT, "spot"),
        Task(TaskKind.PARSE, "parse"),
        Task(TaskKind.FREE, "what is this?"),
        Task(
            TaskKind.EXTRACT,
            "",
            fields=(FieldSpec("合计"),),
            schema={
                "type": "object",
                "properties": {"合计": {"enum": ["36.80", "12.00", None]}},
                "required": ["合计"],
            },
        ),
    ],
    ids=lambda task: task.kind,
)
def test_readings_are_the_same(vllm: VllmGenerator, torch_engine: Any, loop: Loop, task: Task) -> None:
    """Of two pages side by side."""

    async def both() -> list[Any]:
        pages = [text_page(["TOTAL 36.80"], 0), text_page(["合计 12.00", "second"], 1)]
        return await asyncio.gather(*(read(VlmBackend(cast(Any, Short(engine))), pages, task) for engine in (vllm, torch_engine)))

    one, other = loop.run(both())
    assert (one.text, one.values, one.markdown) == (other.text, other.values, other.markdown)
    assert (one.finish_reason, one.notices) == (other.finish_reason, other.notices)
    assert [(line.text, line.box, line.page) for line in one.lines] == [(line.text, line.box, line.page) for line in other.lines]
    assert [line.confidence for line in one.lines] == pytest.approx([line.confidence for line in other.lines], abs=APART)
    assert one.confidences == pytest.approx(other.confidences, abs=APART)
    assert bool(one.confidences) == (task.kind is TaskKind.EXTRACT), "of a value that the grammar left a choice"
