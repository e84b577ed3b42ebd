"""Admission's estimate, the breaker's states, the cache's bounds, the tags of lines: each by itself."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hunyuanocr.errors import BackendFailed, BackendUnavailable, QueueFull, UnreadableImage
from hunyuanocr.pipeline.admission import AdmissionQueue
from hunyuanocr.pipeline.build_result import classify_line
from hunyuanocr.pipeline.circuit_breaker import CircuitBreaker
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.result_cache import ResultCache, cache_key, deep_size
from hunyuanocr.types import FieldSpec, FieldType, Line, Result, Task, TaskKind
from tests.support.fake_backend import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_retry_after_follows_the_queue_and_the_latest_readings() -> None:
    admission = AdmissionQueue(concurrency=2, queue_capacity=4)
    for seconds in (9.0,) * 30:
        admission.record_duration(seconds)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(admission.slot(Deadline(60)))
        waiting = [asyncio.create_task(admission.slot(Deadline(60)).__aenter__()) for _ in range(4)]
        await wait_until(lambda: admission.waiting == 4)
        assert admission.retry_after() == pytest.approx(27.0)  # six readings of nine seconds, two at a time
        assert admission.retry_after("another") == pytest.approx(13.5), "one of the four comes before another key's first"
        for seconds in (1.0,) * 30:
            admission.record_duration(seconds)
        assert 3.0 <= admission.retry_after() < 3.1  # the latest readings count
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert admission.retry_after() == 1.0


async def test_first_come_first_served() -> None:
    admission = AdmissionQueue(1, 8)
    order = []

    async def one(n: int) -> None:
        async with admission.slot(Deadline(60)):
            order.append(n)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(n) for n in range(6)))
    assert order == list(range(6))


async def test_a_cancelled_one_leaves_its_place_in_the_queue() -> None:
    admission = AdmissionQueue(1, 1)
    async with admission.slot(Deadline(60)):
        waiting = asyncio.create_task(admission.slot(Deadline(60)).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await admission.slot(Deadline(60)).__aenter__()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert admission.waiting == 0
    async with admission.slot(Deadline(60)):
        assert admission.running == 1
    assert admission.running == 0


def fail(breaker: CircuitBreaker, error: Exception) -> None:
    with pytest.raises(type(error)), breaker.protect():
        raise error


def test_only_the_readers_own_faults_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(3, 10, Clock())
    for _ in range(2):
        fail(breaker, BackendFailed("x"))
    with breaker.protect():
        pass
    for _ in range(2):
        fail(breaker, BackendFailed("x"))
    for _ in range(9):
        fail(breaker, UnreadableImage("x"))
    assert not breaker.open
    fail(breaker, BackendUnavailable("x"))
    assert breaker.open


def test_one_probe_after_the_rest() -> None:
    clock = Clock()
    breaker = CircuitBreaker(1, 10, clock)
    fail(breaker, BackendFailed("x"))
    clock.now = 4
    with pytest.raises(BackendUnavailable) as e:
        breaker.check()
    assert e.value.retry_after == pytest.approx(6)
    clock.now = 10
    with breaker.protect():
        with pytest.raises(BackendUnavailable):  # a second one while the probe reads
            breaker.check()
        with pytest.raises(BackendUnavailable), breaker.protect():
            pass
    assert not breaker.open
    fail(breaker, BackendFailed("x"))
    clock.now = 20
    fail(breaker, BackendFailed("the probe fails"))
    with pytest.raises(BackendUnavailable):
        breaker.check()
    clock.now = 30
    fail(breaker, TimeoutError("the probe is cancelled"))
    breaker.check()  # neither success nor failure: the next one probes
    with breaker.protect():
        pass
    assert not breaker.open


def result(words: str, lines: int = 3) -> Result:
    box = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    return Result("id", TaskKind.READ, words, (Line(words, box),) * lines, (), None, ((1, 1),), "b", "m", 1.0)


def key(n: int) -> tuple[str, str, str, str, str]:
    return ("owner", str(n), "task", "b", "m")


def test_the_cache_stays_within_its_memory_and_lets_the_oldest_go() -> None:
    size = deep_size(result("x" * 1000))
    cache = ResultCache(3.5 * size / 1e6, 60, Clock())
    for n in range(3):
        cache.put(key(n), result(f"{n}" * 1000))
    assert cache.get(key(0)) is not None  # now 1 is the one used longest ago
    cache.put(key(3), result("3" * 1000))
    assert [cache.get(key(n)) is not None for n in range(4)] == [True, False, True, True]
    assert 0 < cache.currsize <= 3.5 * size
    cache.put(key(4), result("x" * 10000))  # larger than the whole: not kept, nothing lost for it
    assert cache.get(key(4)) is None
    assert len(cache) == 3


def test_the_cache_forgets_with_age_and_counts_right() -> None:
    clock = Clock()
    cache = ResultCache(1, 60, clock)
    cache.put(key(1), result("one"))
    cache.put(key(1), result("two"))
    clock.now = 59
    assert cache.get(key(1)).text == "two"
    clock.now = 60
    assert cache.get(key(1)) is None
    assert cache.currsize == len(cache) == 0
    assert not ResultCache(0, 60).enabled


def test_the_footprint_grows_with_what_is_kept() -> None:
    assert deep_size(result("x" * 5000)) > deep_size(result("x")) + 4900
    assert deep_size(result("x", lines=100)) > deep_size(result("x", lines=1)) + 9000


def test_keys_tell_apart_whatever_changes_the_answer() -> None:
    task = Task(TaskKind.EXTRACT, fields=(FieldSpec("a"),))
    keys = {
        cache_key("o", b"x", task, "ppocr", "m"),
        cache_key("p", b"x", task, "ppocr", "m"),
        cache_key("o", b"y", task, "ppocr", "m"),
        cache_key("o", b"x", Task(TaskKind.EXTRACT, fields=(FieldSpec("b"),)), "ppocr", "m"),
        cache_key("o", b"x", Task(TaskKind.EXTRACT, fields=task.fields, schema={"type": "object"}), "ppocr", "m"),
        cache_key("o", b"x", task, "torch", "m"),
        cache_key("o", b"x", task, "ppocr", "n"),
        cache_key("o", b"x", task, "ppocr", "m", more=(b"y",)),
        cache_key("o", b"y", task, "ppocr", "m", more=(b"x",)),
        cache_key("o", b"xy", task, "ppocr", "m"),
    }
    assert len(keys) == 10
    assert cache_key("o", b"x", Task(TaskKind.EXTRACT, fields=(FieldSpec("a"),)), "ppocr", "m") in keys


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("合计 ¥36.80", FieldType.MONEY),
        ("TOTAL 1,234.50", FieldType.MONEY),
        ("RM 12", FieldType.MONEY),
        ("应付36元", FieldType.MONEY),
        ("2026年1月31日", FieldType.DATE),
        ("Date: 31/01/2026 10:22", FieldType.DATE),
        ("31 Jan 2026", FieldType.DATE),
        ("10:22:05", FieldType.TIME),
        ("GST 6%", FieldType.PERCENT),
        ("TEL: 03-8076 1234", FieldType.PHONE),
        ("13812345678", FieldType.PHONE),
        ("便民超市", FieldType.TEXT),
        ("12", FieldType.TEXT),
        ("No. 4, Jalan 3/4", FieldType.TEXT),
        ("", FieldType.TEXT),
    ],
)
def test_lines_are_tagged_by_their_looks(text: str, kind: FieldType) -> None:
    assert classify_line(text) is kind
