"""Receivers of webhooks that drip, or say nothing: the others' messages are not late for them, and each exchange has an end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from api.schemas.jobs import SERIALIZERS
from hunyuanocr.clock import Clock
from hunyuanocr.config import JobSettings, SyncSettings
from hunyuanocr.ids import new_id
from hunyuanocr.services import webhook_client
from hunyuanocr.services.encryption import generate_keypair
from hunyuanocr.services.jobs import JobService
from hunyuanocr.services.sync import Sync
from hunyuanocr.services.webhooks import Webhooks
from hunyuanocr.store import deliveries, jobs, outbox, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import Job
from tests.support.webhooks import SECRET

IN_TIME_S = 2.0


class Receivers:
    """Real servers on ports of 127.0.0.1; `heard` has when each path was asked for, in seconds of the loop."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.heard: dict[str, float] = {}
        self.most = self.now = 0

    async def start(self, kind: str) -> str:
        """The host and port of one that is `good`, `silent`, or that `drip`s its headers."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heard.setdefault(head.split()[1].decode(), asyncio.get_running_loop().time())
                if kind == "good":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\n" if kind == "drip" else b"")
                    while await self._hold(reader):
                        writer.write(b"x: y\r\n" if kind == "drip" else b"")
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                self.now -= 1
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @staticmethod
    async def _hold(reader: asyncio.StreamReader) -> bool:
        """Half a second, or False when the other side has gone."""
        try:
            async with asyncio.timeout(0.5):
                while await reader.read(65536):
                    pass
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack[bool | None]]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
def receivers(stack: AsyncExitStack[bool | None]) -> Receivers:
    return Receivers(stack)


@pytest.fixture
async def desk_of(stack: Any, tmp_path: Path) -> Callable[..., Any]:
    """`await desk_of(hosts)` → a desk whose webhooks are delivered."""

    async def make(hosts: list[str]) -> JobService:
        settings = JobSettings(webhook_hosts=tuple(hosts), webhook_secret=SECRET)
        database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
        stack.callback(database.close)
        desk = JobService(database, settings, Clock())
        task = asyncio.create_task(Webhooks(database, desk.events, desk.clock, settings, worker="w", body=SERIALIZERS.job).run())

        async def end() -> None:
            task.cancel()
            await asyncio.wait((task,))

        stack.push_async_callback(end)
        return desk

    return make


async def reported(desk: JobService, owner: str, url: str) -> str:
    """A finished job with a pending webhook."""
    job = Job(new_id(), owner, desk.now(), {}, 1, webhook=url)
    await desk.database.write(jobs.add, job, b"x", QueueLimits(1000, 100_000))
    await desk.cancel(owner, job.id)
    return job.id


async def until(condition: Callable[..., Any], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("kind", "count", "hosts"), [("drip", 8, 8), ("drip", 8, 1), ("silent", 40, 40), ("silent", 40, 1)])
async def test_slow_receivers_make_nobody_elses_message_late(
    receivers: Receivers, desk_of: Callable[..., Any], kind: str, count: int, hosts: int
) -> None:
    """Eight that drip blocked all webhooks without end, forty silent ones all others for 75 seconds."""
    slow = [await receivers.start(kind) for _ in range(hosts)]
    good = await receivers.start("good")
    desk = await desk_of([*slow, good])
    for n in range(count):
        await reported(desk, "slow", f"http://{slow[n % hosts]}/slow/{n}")
    await until(lambda: len(receivers.heard) >= min(8, hosts), 10)
    began = asyncio.get_running_loop().time()
    await reported(desk, "shop", f"http://{good}/other-owner")
    await reported(desk, "slow", f"http://{good}/same-owner")
    await reported(desk, "shop", f"http://{slow[0]}/other-owner-at-a-slow-one")
    for path in ("/other-owner", "/same-owner", "/other-owner-at-a-slow-one"):
        await until(lambda path=path: path in receivers.heard, 20)
        assert receivers.heard[path] - began < IN_TIME_S, path
    if hosts == 1:
        assert receivers.most <= 4, "one receiver is not stormed"


async def test_an_answer_that_drips_has_an_end(
    receivers: Receivers, desk_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_client, "TIMEOUT_S", 1.2)  # twice the time between two drops: each alone comes in time
    host = await receivers.start("drip")
    desk = await desk_of([host])
    id = await reported(desk, "shop", f"http://{host}/")
    async with asyncio.timeout(10):
        while (found := (await desk.database.read(deliveries.by_job, [id]))[id]).attempts == 0:
            await asyncio.sleep(0.05)
    assert (found.status, found.last_error) == ("pending", "No response within 1.2 seconds.")


async def test_all_messages_to_a_good_receiver_arrive(receivers: Receivers, desk_of: Callable[..., Any]) -> None:
    """The counter-case: a backlog of one lane is delivered whole, by several at a time."""
    host = await receivers.start("good")
    desk = await desk_of([host])
    ids = [await reported(desk, "shop", f"http://{host}/{n}") for n in range(100)]
    await until(lambda: len(receivers.heard) == 100, 20)
    async with asyncio.timeout(10):
        while any(d.status != "delivered" for d in (await desk.database.read(deliveries.by_job, ids)).values()):
            await asyncio.sleep(0.05)


async def test_a_name_server_that_is_away_takes_no_threads(desk_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on, real = [], threading.Event(), socket.getaddrinfo

    def hang(host: Any, *rest: Any, **more: Any) -> list[tuple[Any, ...]]:
        if not str(host).endswith(".invalid"):
            return real(host, *rest, **more)
        asked.append(host)
        go_on.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    hosts = [f"shop{n}.invalid" for n in range(40)]
    desk = await desk_of(hosts)
    for host in hosts:
        await reported(desk, "shop", f"http://{host}/")
    try:
        await until(lambda: asked, 10)
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await asyncio.to_thread(lambda: None)
        assert time.monotonic() - began < 0.5
    finally:
        go_on.set()


async def test_an_hq_that_drips_its_answer_is_tried_again(
    receivers: Receivers, stack: AsyncExitStack[bool | None], tmp_path: Path
) -> None:
    from tests.store.results import NOON, result

    host = await receivers.start("drip")
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    stack.callback(database.close)
    from hunyuanocr.store.record_builder import build_entry

    made = build_entry(result(), owner="shop", created_at=NOON, source="ocr", instruction="", device=None)
    await database.write(records.insert, made, send=True)
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await asyncio.Event().wait()

    settings = SyncSettings(enabled=True, url=f"http://{host}/v1/batches", public_key=generate_keypair()[1])
    sender = Sync(database, settings, clock=lambda: NOON, sleep=rest)
    sender.deadline_s = 1.2
    task = asyncio.create_task(sender.send_all())
    await until(lambda: rests, 10)
    task.cancel()
    await asyncio.wait((task,))
    state = await sender.state()
    assert "within 1.2 seconds" in state.last_error
    assert (await database.read(outbox.waiting)).records == 1
