"""Slots shared between clients: bounds, turns, and no slot lost however a request ends."""

import asyncio
import random
from contextlib import suppress
from typing import Any

import pytest

from hunyuanocr.errors import DeadlineExceeded, DecodingBusy
from hunyuanocr.pipeline.client_slots import ClientSlots
from hunyuanocr.pipeline.deadline import Deadline


class Work:
    """Requests of clients, each of which holds its slot until it is released."""

    def __init__(self, slots: ClientSlots) -> None:
        self.slots = slots
        self.order: list[Any] = []
        self.tasks: dict[Any, Any] = {}

    async def request(self, client: str, seconds: float = 60.0) -> Any:
        """Begin one; it has its slot, or waits, when this returns."""
        over = asyncio.Event()

        async def hold() -> None:
            async with self.slots.slot(client, Deadline(seconds)):
                self.order.append(client)
                await over.wait()

        task = asyncio.create_task(hold())
        await asyncio.sleep(0.01)
        return task, over


@pytest.fixture
def work() -> Work:
    return Work(ClientSlots(2, 6))


async def test_one_client_cannot_hold_all(work: Work) -> None:
    for _ in range(3):
        await work.request("a")
    assert (work.slots.running, work.slots.waiting) == (1, 2)
    await work.request("b")
    assert work.order == ["a", "b"]
    await cancel()


async def test_clients_take_turns(work: Work) -> None:
    running = [await work.request(client) for client in ("a", "a", "a", "b", "c")]
    for _, over in running:
        over.set()
        await asyncio.sleep(0.01)
    assert work.order == ["a", "b", "c", "a", "a"], "the newcomers before the second of the first"
    await asyncio.gather(*(task for task, _ in running))
    assert (work.slots.running, work.slots.waiting) == (0, 0)


async def test_too_many_are_refused_and_each_has_half_of_the_room(work: Work) -> None:
    for _ in range(4):
        await work.request("a")  # one runs, three wait
    with pytest.raises(DecodingBusy) as refused:
        await (await work.request("a"))[0]
    assert refused.value.retry_after > 0
    await work.request("b")
    for client in ("b", "c", "d"):
        await work.request(client)
    with pytest.raises(DecodingBusy):
        await (await work.request("e"))[0]
    await cancel()


async def test_who_waits_too_long_leaves_the_queue(work: Work) -> None:
    await work.request("a")
    with pytest.raises(DeadlineExceeded):
        await (await work.request("a", seconds=0.02))[0]
    assert (work.slots.running, work.slots.waiting) == (1, 0)
    await cancel()


async def test_no_slot_is_lost_whenever_a_request_is_cancelled(work: Work) -> None:
    source = random.Random(5)
    for _ in range(300):
        with suppress(DecodingBusy):
            task, over = await work.request(source.choice("abc"))
            over.set() if source.random() < 0.5 else task.cancel()
        if source.random() < 0.3:
            source.choice(list(asyncio.all_tasks() - {asyncio.current_task()}) or [task]).cancel()
    await cancel()
    assert (work.slots.running, work.slots.waiting) == (0, 0)
    async with work.slots.slot("a", Deadline(1.0)), work.slots.slot("b", Deadline(1.0)):
        assert work.slots.running == 2


async def cancel() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
