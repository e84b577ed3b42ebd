"""Turns of cameras: a client with one camera has as many as a client with a hundred."""

from __future__ import annotations

import asyncio
from functools import partial

from hunyuanocr.services.camera.frame_budget import FrameBudget
from hunyuanocr.services.camera.messages import Frame
from hunyuanocr.services.camera.scheduler import TurnScheduler


async def test_one_camera_of_one_client_has_half_of_the_turns_among_a_hundred_of_another() -> None:
    turns, order, over = TurnScheduler(1), [], asyncio.Event()

    async def read(client: str, camera: int) -> None:
        order.append(client)
        await asyncio.sleep(0)
        if len(order) < 60:
            turns.enqueue(takers[client, camera], client)
        else:
            over.set()

    cameras = [("many", n) for n in range(100)] + [("one", 0)]
    takers = {(client, n): partial(read, client, n) for client, n in cameras}
    for client, n in cameras:
        turns.enqueue(takers[client, n], client)
    await over.wait()
    assert 19 <= order.count("one") <= 31, order.count("one")
    for taker in takers.values():
        await turns.cancel(taker)
    assert not turns.queues
    assert not turns.running


def test_frames_of_one_client_leave_room_for_anothers() -> None:
    memory = FrameBudget(1)
    big = Frame(1, None, bytes, memory.capacity // 8)
    for _ in range(8):
        assert memory.acquire(big, "greedy")
    assert not memory.acquire(big, "greedy")
    small = Frame(2, None, bytes, 80_000)
    assert memory.acquire(small, "light")
    memory.release([small], "light")
    memory.release([big] * 8, "greedy")
    assert memory.used == 0
