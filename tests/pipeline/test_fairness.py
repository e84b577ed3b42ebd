"""Whose turn it is, who gives way when the queue is full, and that nobody is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from hunyuanocr.errors import BackendUnavailable, DeadlineExceeded, QueueFull
from hunyuanocr.pipeline.admission import AdmissionQueue
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.fairness import MAX_PASSED
from tests.support.fake_backend import wait_until


class Counter:
    """Requests at an admission; `order` is that in which they were served."""

    def __init__(self, readings: int = 1, places: int = 8) -> None:
        self.admission = AdmissionQueue(readings, places)
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.free = asyncio.Event()

    async def send(self, key: str, *, background: bool = False, deadline_s: float = 60) -> asyncio.Task[None]:
        async def one() -> None:
            async with self.admission.slot(Deadline(deadline_s), key, background=background):
                self.order.append(key)
                await self.free.wait()
                await asyncio.sleep(0)

        self.tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(0)
        return self.tasks[-1]

    async def served(self) -> str:
        self.free.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert (self.admission.running, self.admission.waiting) == (0, 0)
        return "".join(self.order)


async def test_keys_take_turns_and_a_keys_own_requests_keep_their_order() -> None:
    counter = Counter()
    for key in "aaaabbc":
        await counter.send(key)
    assert await counter.served() == "abcabaa"


async def test_with_several_readings_each_key_has_as_many_of_them() -> None:
    counter = Counter(readings=4, places=20)
    for key in "aaaaaaaabbbb":
        await counter.send(key)
    order = await counter.served()
    assert order[:4] == "aaaa", "while nobody else was there"
    assert order[4:6] == "bb", "until both have as many"
    assert sorted(order[4:8]) == list("aabb")


async def test_a_newcomer_displaces_the_newest_of_the_one_who_holds_most() -> None:
    counter = Counter(places=4)
    greedy = [await counter.send("a") for _ in range(5)]
    light = [await counter.send("b") for _ in range(2)]
    with pytest.raises(QueueFull) as e:
        await greedy[4]
    assert e.value.retry_after >= 1
    with pytest.raises(QueueFull):
        await greedy[3]
    refused = await counter.send("b")
    with pytest.raises(QueueFull):
        await refused
    assert not any(one.done() for one in (*greedy[:3], *light))
    assert await counter.served() == "ababa"


async def test_nobody_displaces_his_own_requests_and_equal_ones_do_not_drive_each_other_out() -> None:
    counter = Counter(places=2)
    for key in "abb":
        await counter.send(key)
    for key in "ab":
        with pytest.raises(QueueFull):
            await (await counter.send(key))
    assert await counter.served() == "abb"


async def test_the_background_comes_last_but_does_come() -> None:
    counter = Counter(places=40)
    await counter.send("a")
    await counter.send("job", background=True)
    for _ in range(12):
        await counter.send("a")
    counter.free.set()
    await asyncio.gather(*counter.tasks)
    assert counter.order.index("job") == MAX_PASSED + 1
    assert counter.order.count("a") == 13


async def test_a_turn_that_comes_together_with_the_cancellation_is_passed_on() -> None:
    counter = Counter()
    await counter.send("a")
    second, third = await counter.send("b"), await counter.send("c")
    counter.free.set()
    counter.tasks[0].add_done_callback(lambda _: second.cancel())
    await asyncio.gather(*counter.tasks, return_exceptions=True)
    assert third.done()
    assert not third.cancelled()
    assert (counter.admission.running, counter.admission.waiting) == (0, 0)


async def test_those_who_wait_hear_it_when_the_reader_goes() -> None:
    counter = Counter()
    await counter.send("a")
    waiting = await counter.send("b")
    closing = asyncio.create_task(counter.admission.close(5))
    with pytest.raises(BackendUnavailable):
        await waiting
    with pytest.raises(BackendUnavailable):
        await (await counter.send("c"))
    counter.free.set()
    await closing


async def test_whatever_happens_every_place_comes_back() -> None:
    dice, counter = random.Random(3), Counter(readings=2, places=6)
    counter.free.set()
    for _ in range(400):
        task = await counter.send(dice.choice("abcd"), background=dice.random() < 0.1, deadline_s=dice.choice((0.0, 60)))
        if dice.random() < 0.3:
            asyncio.get_running_loop().call_later(dice.random() / 100, task.cancel)
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    outcomes = await asyncio.gather(*counter.tasks, return_exceptions=True)
    assert {type(one) for one in outcomes} <= {type(None), QueueFull, DeadlineExceeded, asyncio.CancelledError}
    await wait_until(lambda: (counter.admission.running, counter.admission.waiting) == (0, 0))
    assert len(counter.admission.turns.served) <= 5, "clients that are gone are forgotten"
