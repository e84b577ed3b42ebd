"""Turns go round."""

from __future__ import annotations

import asyncio
from typing import Any

from hunyuanocr.services.camera.scheduler import TurnScheduler
from tests.support.fake_backend import wait_until


class Taker:
    def __init__(self, log: list, name: str, wants: int, turns: TurnScheduler) -> None:
        self.log, self.name, self.wants, self.turns = log, name, wants, turns
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled = False

    async def turn(self) -> None:
        self.log.append(self.name)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.wants -= 1
        if self.wants:
            self.turns.enqueue(self.turn)


async def test_everyone_has_a_turn_between_two_of_one() -> None:
    turns: Any = TurnScheduler(1)
    log: list[Any] = []
    takers = [Taker(log, name, wants, turns) for name, wants in (("greedy", 9), ("a", 3), ("b", 3))]
    for taker in takers:
        turns.enqueue(taker.turn)
    turns.enqueue(takers[0].turn)
    turns.enqueue(takers[0].turn)  # once more: he stands in the line already
    await wait_until(lambda: not any(t.wants for t in takers))
    assert log[:9] == ["greedy", "a", "b"] * 3
    assert log[9:] == ["greedy"] * (len(log) - 9)


async def test_so_many_at_a_time_and_nobody_twice() -> None:
    turns: Any = TurnScheduler(2)
    log: list[Any] = []
    a, b, c = takers = [Taker(log, name, 1, turns) for name in "abc"]
    for taker in takers:
        taker.gate.clear()
    turns.enqueue(a.turn)
    turns.enqueue(b.turn)
    turns.enqueue(c.turn)
    turns.enqueue(a.turn)
    await wait_until(lambda: len(log) == 2)
    await asyncio.sleep(0)
    assert log == ["a", "b"]
    b.gate.set()
    await wait_until(lambda: log == ["a", "b", "c"])
    await asyncio.sleep(0)
    assert log == ["a", "b", "c"], "a waits for its own first turn to end"
    a.wants, a.cancelled = 2, False
    a.gate.set()
    await wait_until(lambda: log == ["a", "b", "c", "a"])
    c.gate.set()


async def test_who_leaves_is_gone_from_the_line_and_his_turn_is_cancelled() -> None:
    turns: Any = TurnScheduler(1)
    log: list[Any] = []
    a, b, _ = takers = [Taker(log, name, 1, turns) for name in "abc"]
    a.gate.clear()
    for taker in takers:
        turns.enqueue(taker.turn)
    await wait_until(lambda: log == ["a"])
    await turns.cancel(b.turn)
    await turns.cancel(a.turn)
    await wait_until(lambda: log == ["a", "c"])
    assert (a.cancelled, b.cancelled) == (True, False)
