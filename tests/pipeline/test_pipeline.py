"""The whole sentence: bytes and a task in, a Result or an error of the family out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from hunyuanocr.config import Settings
from hunyuanocr.errors import (
    BackendFailed,
    BackendUnavailable,
    DeadlineExceeded,
    InvalidSchema,
    QueueFull,
    SchemaNotSatisfied,
    TaskNotSupported,
    UnreadableImage,
    UnsupportedMedia,
)
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from hunyuanocr.types import FieldType, Result, Task, TaskKind, TextDelta
from tests.support.fake_backend import FakeBackend, picture, wait_until

READ = Task(TaskKind.READ)


async def test_a_picture_becomes_a_result(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    reader.text = "Total 12.00\n2026-01-31\nhello"
    result = await pipeline.run(Request(picture(size=(40, 30)), READ, id="one"))
    assert (result.id, result.task, result.text) == ("one", TaskKind.READ, reader.text)
    assert result.page_sizes == ((40, 30),)
    assert [line.type for line in result.lines] == [FieldType.MONEY, FieldType.DATE, FieldType.TEXT]
    assert (result.backend, result.model, result.fields, result.answer) == ("ppocr", "test-reader", (), None)
    assert result.elapsed_ms > 0
    timing = pipeline.timings[-1]
    assert timing.outcome == "ok"
    assert set(timing.stages) == {"wait", "decode", "read", "codes", "fields"}


async def test_further_pictures_are_further_pages(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    result = await pipeline.run(Request(picture(1), READ, more=(picture(2), picture(3))))
    assert result.text == "#012030\n#022030\n#032030"
    assert len(result.page_sizes) == 3


async def test_fields_are_found_on_the_lines(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    reader.text = "SHOP\nTotal: 12.00\nDate: 31/01/2026"
    result = await pipeline.run(Request(picture(), parse_instruction("", fields=["Total", "no such thing"])))
    values = {f.key: f.value for f in result.fields}
    assert "12.00" in values["Total"]
    assert values["no such thing"] is None


async def test_a_models_own_values_are_grounded_not_trusted(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    reader.text = "SHOP\nTotal: 12.00"
    reader.values = {"total_amount": "12.00", "phone": "0123456789"}
    result = await pipeline.run(Request(picture(), parse_instruction("", fields=["total_amount", "phone"])))
    grounded = {f.key: f.grounded for f in result.fields}
    assert grounded == {"total_amount": True, "phone": False}


async def test_a_schema_is_satisfied_or_the_request_fails(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    reader.text = "Total: 12.00"
    schema = {"type": "object", "properties": {"total_amount": {"type": "number"}}, "required": ["total_amount"]}
    result = await pipeline.run(Request(picture(), parse_instruction("", schema=schema)))
    assert result.answer == {"total_amount": 12.0}
    reader.text = "nothing of the kind"
    with pytest.raises(SchemaNotSatisfied):
        await pipeline.run(Request(picture(1), parse_instruction("", schema=schema)))
    with pytest.raises(InvalidSchema):
        parse_instruction("", schema={"type": "no such type"})


async def test_deltas_come_before_the_result(make: Callable[..., Any]) -> None:
    pipeline = await make()
    async with aclosing(pipeline.stream(Request(picture(), READ))) as parts:
        kinds = [type(p) async for p in parts]
    assert kinds == [TextDelta, Result]


async def test_a_task_that_the_reader_cannot_do_names_who_can(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    with pytest.raises(TaskNotSupported) as e:
        await pipeline.run(Request(picture(), parse_instruction("translate this menu into English")))
    assert "HunyuanOCR" in e.value.hint
    assert "--backend torch" in e.value.hint
    assert reader.begun == 0


async def test_bad_pictures_are_refused_and_free_their_place(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(breaker_failures=2)
    for _ in range(4):
        with pytest.raises(UnreadableImage):
            await pipeline.run(Request(picture(form="JPEG")[:200], READ))
        with pytest.raises(UnsupportedMedia):
            await pipeline.run(Request(b"just text", READ))
    assert reader.begun == 0
    assert (await pipeline.run(Request(picture(), READ))).text  # not even the breaker minds them


async def test_only_so_many_read_at_a_time(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(workers=2)
    reader.gate = asyncio.Event()
    reading = asyncio.gather(*(pipeline.run(Request(picture(n), READ)) for n in range(12)))
    await wait_until(lambda: reader.now == 2)
    reader.gate.set()
    results = await reading
    assert reader.max_concurrent == 2
    assert [r.text for r in results] == [f"#{n:02x}2030" for n in range(12)]


async def test_a_full_queue_refuses_and_says_when_to_come_back(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(queue_size=2)
    reader.gate = asyncio.Event()
    tasks = [asyncio.create_task(pipeline.run(Request(picture(n), READ))) for n in range(3)]
    await wait_until(lambda: pipeline.admission.waiting == 2)
    with pytest.raises(QueueFull) as e:
        await pipeline.run(Request(picture(9), READ))
    assert e.value.retry_after >= 1
    reader.gate.set()
    assert len(await asyncio.gather(*tasks)) == 3  # the refused one cost the others nothing
    assert (pipeline.admission.waiting, pipeline.admission.running) == (0, 0)


async def test_the_deadline_covers_waiting_and_cancels_the_work(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(deadline_s=2)
    reader.gate = asyncio.Event()
    outcomes = await asyncio.gather(*(pipeline.run(Request(picture(n), READ)) for n in range(2)), return_exceptions=True)
    assert [type(o) for o in outcomes] == [DeadlineExceeded, DeadlineExceeded]
    assert reader.now == 0
    assert reader.begun == reader.cancelled >= 1
    reader.gate.set()
    assert (await pipeline.run(Request(picture(), READ, deadline_s=60))).text


async def test_a_requests_own_deadline_wins(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(deadline_s=60)
    reader.gate = asyncio.Event()
    with pytest.raises(DeadlineExceeded):
        await pipeline.run(Request(picture(), READ, deadline_s=0.05))


async def test_a_readers_own_timeout_is_its_failure_not_our_deadline(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    reader.fault = TimeoutError
    with pytest.raises(BackendFailed):
        await pipeline.run(Request(picture(), READ))


@pytest.mark.parametrize("place", ["waiting", "reading"])
async def test_cancelling_the_caller_frees_the_place_at_once(make: Callable[..., Any], reader: FakeBackend, place: str) -> None:
    pipeline = await make(queue_size=1)
    reader.gate = asyncio.Event()
    first = asyncio.create_task(pipeline.run(Request(picture(1), READ)))
    await wait_until(lambda: reader.now == 1)
    second = asyncio.create_task(pipeline.run(Request(picture(2), READ)))
    await wait_until(lambda: pipeline.admission.waiting == 1)
    gone, stays = (second, first) if place == "waiting" else (first, second)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert pipeline.timings[-1].outcome == "cancelled"
    third = asyncio.create_task(pipeline.run(Request(picture(3), READ)))
    await wait_until(lambda: pipeline.admission.waiting == 1 or third.done())
    reader.gate.set()
    assert {(await stays).text, (await third).text} == {"#012030" if place == "waiting" else "#022030", "#032030"}
    assert reader.cancelled == (place == "reading")


async def test_leaving_a_stream_cancels_the_reading(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make()
    async with aclosing(pipeline.stream(Request(picture(), READ))) as parts:
        async for _ in parts:
            break
    assert (reader.cancelled, pipeline.admission.running) == (1, 0)


async def test_a_failing_reader_is_given_a_rest_and_probed(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(breaker_failures=3, breaker_reset_s=60)
    reader.fault = lambda: RuntimeError("out of order")
    for n in range(3):
        with pytest.raises(BackendFailed) as e:
            await pipeline.run(Request(picture(n), READ))
        assert isinstance(e.value.__cause__, RuntimeError)
    with pytest.raises(BackendUnavailable) as refused:
        await pipeline.run(Request(picture(), READ))
    assert refused.value.retry_after > 0
    assert reader.begun == 3
    assert not (await pipeline.health()).ready
    pipeline.active.breaker.until -= 60  # a minute later
    reader.fault = None
    assert (await pipeline.run(Request(picture(), READ))).text
    assert (await pipeline.health()).ready


async def test_those_who_waited_are_reported_when_the_reader_is_given_a_rest(
    make: Callable[..., Any], reader: FakeBackend
) -> None:
    pipeline = await make(breaker_failures=1, breaker_reset_s=60)
    reader.gate = asyncio.Event()
    reader.fault = lambda: BackendFailed("broken")
    tasks = [asyncio.create_task(pipeline.run(Request(picture(n), READ))) for n in range(3)]
    await wait_until(lambda: pipeline.admission.waiting == 2)
    reader.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(o) for o in outcomes] == [BackendFailed, BackendUnavailable, BackendUnavailable]


async def test_equal_requests_of_one_owner_are_read_once(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(cache_mb=1)
    first = await pipeline.run(Request(picture(), READ, id="a"))
    again = await pipeline.run(Request(picture(), READ, id="b"))
    assert reader.begun == 1
    assert (again.id, again.text) == ("b", first.text)
    assert pipeline.timings[-1].cached
    for other in (
        Request(picture(), READ, owner="someone else"),
        Request(picture(1), READ),
        Request(picture(), Task(TaskKind.SPOT)),
    ):
        await pipeline.run(other)
    assert reader.begun == 4


async def test_failures_are_not_kept_and_zero_switches_the_cache_off(make: Callable[..., Any], reader: FakeBackend) -> None:
    pipeline = await make(cache_mb=1)
    reader.fault = lambda: BackendFailed("broken")
    with pytest.raises(BackendFailed):
        await pipeline.run(Request(picture(), READ))
    reader.fault = None
    assert (await pipeline.run(Request(picture(), READ))).text
    off = await make(cache_mb=0)
    for _ in range(2):
        await off.run(Request(picture(), READ))
    assert reader.begun == 4


async def test_before_start_and_after_close_requests_are_refused(make: Callable[..., Any], reader: FakeBackend) -> None:
    fresh = Pipeline(reader, Settings())
    with pytest.raises(BackendUnavailable):
        await fresh.run(Request(picture(), READ))
    await fresh.close()
    pipeline = await make(queue_size=4)
    reader.gate = asyncio.Event()
    running, waiting = (asyncio.create_task(pipeline.run(Request(picture(n), READ))) for n in range(2))
    await wait_until(lambda: pipeline.admission.waiting == 1)
    closing = asyncio.create_task(pipeline.close())
    await asyncio.sleep(0)
    reader.gate.set()
    await closing
    assert (await running).text  # what was being read is answered
    with pytest.raises(BackendUnavailable):
        await waiting
    with pytest.raises(BackendUnavailable):
        await pipeline.run(Request(picture(), READ))
    await pipeline.close()


async def test_a_failed_start_is_reported_by_health(reader: FakeBackend) -> None:
    reader.start_fault = BackendUnavailable("no weights", hint="fetch them")
    pipeline = Pipeline(reader, Settings())
    with pytest.raises(BackendUnavailable):
        await pipeline.start()
    health = await pipeline.health()
    assert not health.ready
    assert "no weights" in health.detail
    assert "fetch them" in health.detail
    reader.start_fault = None
    await pipeline.start()
    await pipeline.start()  # two apps may share it
    assert reader.started == 2
    await pipeline.close()


async def test_every_accepted_request_ends(make: Callable[..., Any], reader: FakeBackend) -> None:
    """Cancellations, failures and bad pictures mixed: nothing hangs, no place is lost."""
    pipeline = await make(workers=2, queue_size=64, breaker_failures=1000)
    reader.seconds = 0.002
    reader.fault = lambda: BackendFailed("now and then")

    async def one(n: int) -> str:
        data = b"no picture" if n % 5 == 0 else picture(n)
        task = asyncio.create_task(pipeline.run(Request(data, READ)))
        if n % 7 == 0:
            await asyncio.sleep(0.001 * (n % 5))
            task.cancel()
        outcomes = await asyncio.gather(task, return_exceptions=True)
        return type(outcomes[0]).__name__

    seen = set(await asyncio.gather(*(one(n) for n in range(60))))
    assert seen <= {"BackendFailed", "UnsupportedMedia", "CancelledError"}
    reader.fault = None
    assert (await pipeline.run(Request(picture(), READ))).text
    assert (pipeline.admission.waiting, pipeline.admission.running, reader.now) == (0, 0, 0)
    assert len(pipeline.timings) == 61
