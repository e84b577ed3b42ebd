"""The evidence backend of a language model: it proves values, runs concurrently, and its failure never costs the answer."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest
from PIL import Image

from hunyuanocr.backends.base import BackendName
from hunyuanocr.backends.ppocr import PpocrBackend
from hunyuanocr.config import PipelineSettings, PpocrSettings, Settings, TorchSettings
from hunyuanocr.errors import BackendFailed, ConfigError, DeadlineExceeded
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import Task, TaskKind
from tests.support.fake_backend import FakeBackend, picture, wait_until

TOTAL = parse_instruction(fields=["total_amount"])


@pytest.fixture
def model() -> FakeBackend:
    reader = FakeBackend(name=BackendName.TORCH)
    reader.text, reader.values = "", {"total_amount": "12.00"}
    return reader


@pytest.fixture
def evidence_backend() -> FakeBackend:
    reader = FakeBackend()
    reader.text = "SHOP\nTotal: 12.00"
    return reader


@pytest.fixture
async def make(model: FakeBackend) -> AsyncIterator[Callable[..., Any]]:
    """`await make(evidence_backend, deadline_s=…)` → a started pipeline of both, closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def build(evidence_backend: Any, **limits: Any) -> Pipeline:
            pipeline = Pipeline(model, Settings(pipeline=PipelineSettings(**{"cache_mb": 0, **limits})), evidence_backend)
            stack.push_async_callback(pipeline.close)
            await pipeline.start()
            return pipeline

        yield build


def codes(result: Any) -> list[str]:
    return [n.code for n in result.notices if n.code == "no_evidence"]


async def test_values_stand_where_the_witness_saw_them(make: Callable[..., Any], evidence_backend: FakeBackend) -> None:
    pipeline = await make(evidence_backend)
    result = await pipeline.run(Request(picture(), TOTAL))
    (field,) = result.fields
    assert field.grounded
    assert field.box is not None
    assert codes(result) == []
    assert result.backend == "torch"
    evidence_backend.text = "SHOP\nTotal: 13.00"
    (field,) = (await pipeline.run(Request(picture(), TOTAL))).fields
    assert (field.value, field.grounded, field.box) == ("12.00", False, None), "another amount proves nothing"


async def test_lines_and_text_of_the_answer_are_the_witnesses(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend)
    result = await pipeline.run(Request(picture(), TOTAL))
    assert [(n.text, n.confidence, n.type) for n in result.lines] == [("SHOP", 0.9, "text"), ("Total: 12.00", 0.9, "money")]
    assert result.text == "SHOP\nTotal: 12.00"
    none = await pipeline.run(Request(picture(), parse_instruction(fields=["total_amount"], evidence="none")))
    assert (none.lines, none.text, none.fields[0].grounded) == ((), "", False)
    model.text = "the model's own line"
    own = await pipeline.run(Request(picture(), TOTAL))
    assert [n.text for n in own.lines] == ["the model's own line"]


async def test_the_witness_reads_while_the_model_writes(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend)
    model.gate = asyncio.Event()
    answer = asyncio.create_task(pipeline.run(Request(picture(), TOTAL)))
    await wait_until(lambda: evidence_backend.ended == 1)
    assert model.now == 1
    await asyncio.sleep(0.2)
    model.gate.set()
    assert (await answer).fields[0].grounded
    stages = pipeline.timings[-1].stages
    assert set(stages) == {"wait", "decode", "read", "evidence", "codes", "fields"}
    assert stages["evidence"] < stages["read"]


async def test_a_slower_witness_is_waited_for(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend)
    evidence_backend.gate = asyncio.Event()
    answer = asyncio.create_task(pipeline.run(Request(picture(), TOTAL)))
    await wait_until(lambda: model.ended == 1)
    assert not answer.done()
    evidence_backend.gate.set()
    assert (await answer).fields[0].grounded


@pytest.mark.parametrize("fault", [RuntimeError, TimeoutError, lambda: BackendFailed("broken"), lambda: ConfigError("wrong")])
async def test_a_failing_witness_costs_the_proof_not_the_answer(
    make: Callable[..., Any], evidence_backend: FakeBackend, fault: Callable[..., Any]
) -> None:
    pipeline = await make(evidence_backend, breaker_failures=1)
    evidence_backend.fault = fault
    for _ in range(2):  # nor is the model given a rest for it
        result = await pipeline.run(Request(picture(), TOTAL))
        assert (result.fields[0].value, result.fields[0].grounded) == ("12.00", False)
        assert codes(result) == ["no_evidence"]
        assert result.lines == ()


async def test_an_answer_whose_proof_failed_is_not_kept(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend, cache_mb=1)
    evidence_backend.fault = RuntimeError
    assert codes(await pipeline.run(Request(picture(), TOTAL))) == ["no_evidence"]
    evidence_backend.fault = None
    for _ in range(2):
        assert (await pipeline.run(Request(picture(), TOTAL))).fields[0].grounded
    assert model.begun == 2


async def test_a_witness_that_hangs_is_left_before_the_deadline(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend, deadline_s=3)
    evidence_backend.gate = asyncio.Event()
    result = await pipeline.run(Request(picture(), TOTAL))
    assert codes(result) == ["no_evidence"]
    assert (evidence_backend.now, evidence_backend.cancelled) == (0, 1)
    model.gate = asyncio.Event()  # when the model hangs it is a failure as ever
    with pytest.raises(DeadlineExceeded):
        await pipeline.run(Request(picture(), TOTAL))
    assert evidence_backend.now == 0


@pytest.mark.parametrize("way", ["cancelled", "left", "broken"])
async def test_the_witness_ends_with_the_request(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend, way: str
) -> None:
    pipeline = await make(evidence_backend)
    evidence_backend.gate = asyncio.Event()
    before = asyncio.all_tasks()
    if way == "cancelled":
        model.gate = asyncio.Event()
        answer = asyncio.create_task(pipeline.run(Request(picture(), TOTAL)))
        await wait_until(lambda: evidence_backend.now == model.now == 1)
        answer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answer
    elif way == "left":
        async with aclosing(pipeline.stream(Request(picture(), TOTAL))) as parts:
            await anext(parts)
            await wait_until(lambda: evidence_backend.now == 1)
    else:
        model.fault = lambda: BackendFailed("broken")
        model.seconds = 0.01
        with pytest.raises(BackendFailed):
            await pipeline.run(Request(picture(), TOTAL))
    assert (evidence_backend.begun, evidence_backend.cancelled, evidence_backend.now) == (1, 1, 0)
    assert asyncio.all_tasks() == before
    assert pipeline.admission.running == 0


async def test_nobody_testifies_who_is_not_needed(
    make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend
) -> None:
    pipeline = await make(evidence_backend)
    for task in (
        parse_instruction(fields=["total_amount"], evidence="none"),
        parse_instruction(fields=["total_amount"], evidence="full"),
        Task(TaskKind.READ),
        Task(TaskKind.SPOT),
    ):
        assert codes(await pipeline.run(Request(picture(), task))) == []
    model.name = BackendName.PPOCR
    await pipeline.run(Request(picture(), TOTAL))
    assert evidence_backend.begun == 0
    model.name, model.text = BackendName.TORCH, "Total 12.00"  # lines of its own
    evidence_backend.gate = asyncio.Event()
    result = await pipeline.run(Request(picture(), TOTAL))
    assert result.fields[0].grounded
    assert evidence_backend.now == 0


async def test_without_a_witness_the_answer_says_that_nothing_was_looked_up(make: Callable[..., Any]) -> None:
    pipeline = await make(None)
    result = await pipeline.run(Request(picture(), TOTAL))
    assert (result.fields[0].value, result.fields[0].grounded, codes(result)) == ("12.00", False, ["no_evidence"])


async def test_a_witness_that_does_not_start_is_done_without(make: Callable[..., Any], evidence_backend: FakeBackend) -> None:
    evidence_backend.start_fault = RuntimeError("no memory")
    pipeline = await make(evidence_backend)
    assert (await pipeline.health()).ready
    assert evidence_backend.closed == 1
    assert codes(await pipeline.run(Request(picture(), TOTAL))) == ["no_evidence"]


async def test_a_wrong_setting_of_the_witness_is_said_at_start(make: Callable[..., Any], evidence_backend: FakeBackend) -> None:
    evidence_backend.start_fault = ConfigError("no such file")
    with pytest.raises(ConfigError):
        await make(evidence_backend)


async def test_as_many_are_read_at_a_time_as_the_engine_has_slots(model: FakeBackend) -> None:
    pipeline = Pipeline(model, Settings(torch=TorchSettings(max_num_seqs=3), ppocr=PpocrSettings(workers=2)))
    assert pipeline.concurrency == 3
    await pipeline.close()


async def test_both_readers_are_closed(make: Callable[..., Any], model: FakeBackend, evidence_backend: FakeBackend) -> None:
    pipeline = await make(evidence_backend)
    await pipeline.close()
    assert (model.closed, evidence_backend.closed) == (1, 1)


async def test_the_cpu_reader_proves_values_on_every_page(make: Callable[..., Any], model: FakeBackend) -> None:
    sheets = [Image.open(io.BytesIO(draw_text([words], margin=48))) for words in ("CORNER SHOP", "TOTAL 36.80")]
    scan = io.BytesIO()
    sheets[0].save(scan, "TIFF", save_all=True, append_images=sheets[1:])
    model.values = {"total_amount": "36.80", "merchant": "CORNER SHOP", "date": "2026-01-31"}
    pipeline = await make(PpocrBackend(PpocrSettings(threads=1)))
    result = await pipeline.run(Request(scan.getvalue(), parse_instruction(fields=list(model.values))))
    total, merchant, date = result.fields
    assert (total.grounded, total.page, merchant.grounded, merchant.page) == (True, 1, True, 0)
    assert not date.grounded
    assert [n.page for n in result.lines] == [0, 1]
    assert result.text == "CORNER SHOP\nTOTAL 36.80"
