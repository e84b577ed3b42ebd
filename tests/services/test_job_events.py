"""Events of jobs, and workers that sleep until one comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from hunyuanocr.clock import Clock
from hunyuanocr.ids import new_id
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.background_reader import BackgroundReader
from hunyuanocr.services.jobs import JobEvents, JobService, JobWorkers
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store import jobs
from hunyuanocr.store.database import Database
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import Job
from tests.services.conftest import quick_settings
from tests.support.fake_backend import FakeBackend, picture, wait_until


def test_handlers_run_in_order_until_they_unsubscribe() -> None:
    events, calls = JobEvents(), []
    first = events.finished.subscribe(lambda id: calls.append(("first", id)))
    events.finished.subscribe(lambda id: calls.append(("second", id)))
    events.finished.publish("a")
    first()
    events.finished.publish("b")
    events.submitted.publish()
    assert calls == [("first", "a"), ("second", "a"), ("second", "b")]


def test_a_handler_may_unsubscribe_itself() -> None:
    events, calls = JobEvents(), []

    def once() -> None:
        calls.append(1)
        end()

    end = events.submitted.subscribe(once)
    events.submitted.subscribe(lambda: calls.append(2))
    events.submitted.publish()
    events.submitted.publish()
    assert calls == [1, 2, 2]


class Counted(Database):
    """A database that counts how often the queue is read."""

    reads = 0

    async def read(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        self.reads += work is jobs.next_attempt_count
        return await super().read(work, *args, **kwargs)


@pytest.fixture
async def working(tmp_path: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await working(poll_interval_s=None)` → a job service, its counted database and its backend, with workers that run."""
    async with AsyncExitStack() as stack:

        async def start(poll_interval_s: float | None) -> tuple[JobService, Counted, FakeBackend]:
            settings = quick_settings(evidence_backend="off")
            backend = FakeBackend()
            pipeline = Pipeline(backend, settings)
            await pipeline.start()
            stack.push_async_callback(pipeline.close)
            database = Counted(f"sqlite:///{tmp_path / 'shop.db'}")
            stack.callback(database.close)
            recorder = Recorder(database, settings)
            service = JobService(database, settings.jobs, recorder.clock)
            workers = JobWorkers(
                database,
                service.events,
                recorder,
                BackgroundReader(pipeline),
                settings,
                worker="w",
                poll_interval_s=poll_interval_s,
            )
            running = asyncio.create_task(workers.run())

            async def end() -> None:
                running.cancel()
                await asyncio.wait((running,))

            stack.push_async_callback(end)
            await wait_until(lambda: workers.idle)
            return service, database, backend

        yield start


def job() -> Job:
    return Job(new_id(), "local", Clock().now(), {}, 1)


async def test_idle_workers_do_not_read_the_queue(working: Callable[..., Any]) -> None:
    service, database, _ = await working(None)
    before = database.reads
    await asyncio.sleep(0.3)
    assert database.reads == before
    id, _ = await service.submit(job(), picture())
    assert (await service.wait("local", id, 30)).job.status == "done"


async def test_every_job_of_a_burst_is_read(working: Callable[..., Any]) -> None:
    service, _, backend = await working(None)
    ids = [(await service.submit(job(), picture(n)))[0] for n in range(12)]
    for id in ids:
        assert (await service.wait("local", id, 30)).job.status == "done"
    assert backend.begun == 12
    assert service.progress == {}
    assert service.mean_seconds is not None


async def test_a_job_of_another_process_is_found_by_polling(working: Callable[..., Any]) -> None:
    service, database, _ = await working(0.05)
    other = job()
    await database.write(jobs.add, other, picture(), QueueLimits(10, 1_000_000))  # no event in this process
    async with asyncio.timeout(30):
        while (await service.get("local", other.id)).job.status != "done":
            await asyncio.sleep(0.02)


async def test_a_cancelled_job_stops_and_its_time_does_not_count(working: Callable[..., Any]) -> None:
    service, _, backend = await working(None)
    backend.gate = asyncio.Event()
    id, _ = await service.submit(job(), picture())
    await wait_until(lambda: backend.now == 1)
    assert (await service.cancel("local", id)).job.status == "cancelled"
    await wait_until(lambda: backend.cancelled == 1)
    assert service.mean_seconds is None
