"""Of several actions of one page the newest wins."""

import asyncio
from typing import Any

import pytest

from web.newest_action import NewestActions


async def value(result: Any, gate: Any = None, ended: Any = None) -> Any:
    try:
        if gate is not None:
            await gate.wait()
    finally:
        if ended is not None:
            ended.append(result)
    return result


async def test_a_newer_action_cancels_the_running_one() -> None:
    actions, gate = NewestActions(), asyncio.Event()
    ended: list[Any] = []
    older = asyncio.create_task(actions.run("page", value("old", gate, ended)))
    await asyncio.sleep(0.01)
    assert await actions.run("page", value("new")) == "new"
    assert await older is None
    assert ended == ["old"], "cancelled, though its gate is still closed"
    assert len(actions) == 0


async def test_a_result_that_a_newer_action_overtook_is_not_shown() -> None:
    actions = NewestActions()
    older = asyncio.create_task(actions.run("page", value("old")))
    newer = asyncio.create_task(actions.run("page", value("new")))
    assert (await older, await newer) == (None, "new")


async def test_pages_do_not_disturb_each_other_and_errors_pass_on() -> None:
    async def fails() -> None:
        raise ValueError("stop")

    actions, gate = NewestActions(), asyncio.Event()
    first = asyncio.create_task(actions.run("a", value(1, gate)))
    assert await actions.run("b", value(2)) == 2
    with pytest.raises(ValueError, match="stop"):
        await actions.run("b", fails())
    gate.set()
    assert await first == 1
    assert len(actions) == 0


async def test_an_event_that_is_cancelled_cancels_its_action() -> None:
    actions = NewestActions()
    ended: list[Any] = []
    event = asyncio.create_task(actions.run("page", value(1, asyncio.Event(), ended)))
    await asyncio.sleep(0.01)
    event.cancel()
    with pytest.raises(asyncio.CancelledError):
        await event
    await asyncio.sleep(0)
    assert ended == [1]
    assert len(actions) == 0
