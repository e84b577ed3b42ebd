"""Where jobs are accepted, asked for and cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hunyuanocr.clock import Clock
from hunyuanocr.config import JobSettings
from hunyuanocr.errors import JobOver, NotFound
from hunyuanocr.store import batches, deliveries, jobqueue, jobs, records
from hunyuanocr.store.answers import unpack
from hunyuanocr.store.database import Database
from hunyuanocr.store.deliveries import Delivery
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobqueue import Bounds
from hunyuanocr.store.jobs import OVER, Job, Key
from hunyuanocr.types import Progress, Result

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 60.0  # of one question; proxies cut longer ones
_LOOK_S = 3.0  # between two looks while somebody waits: another process, at the same database, may have ended the job
_ALL = 1_000_000
_PART_BYTES = 8_000_000  # of a batch, in one transaction


@dataclass(frozen=True)
class Seen:
    """A job as its owner sees it. `ahead` is how many come before it while it is queued. No record, no result."""

    job: Job
    ahead: int | None = None
    result: Result | None = None
    delivery: Delivery | None = None
    progress: Progress | None = None  # of a document of several pages, while this process reads it


class Desk:
    """Accepts jobs, answers questions about them, cancels them. `arrived` wakes who reads them."""

    def __init__(self, database: Database, settings: JobSettings, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.now = clock.now
        self.arrived = asyncio.Event()
        self.stopped: Callable[[str], None] = lambda _: None  # the hands hear of a cancelled job by it
        self.told = asyncio.Event()  # a message is due
        self.progress: dict[str, Progress] = {}  # told by the hands, of jobs that they read
        self.seconds_each: float | None = None  # a running mean, told by the hands
        self._settings = settings
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def _bounds(self) -> Bounds:
        """Those who come too many are told to come back when a tenth of the queue has been read."""
        retry_after = min(max(5.0, (self.seconds_each or 0.0) * self._settings.queue / 10), 600.0)
        return Bounds(self._settings.queue, int(self._settings.queue_mb * 1e6), retry_after)

    async def accept(self, job: Job, data: bytes, key: Key | None = None) -> tuple[str, bool]:
        """The id of the job, which survives anything from now on, and whether it is new.

        Raises QueueFull, IdempotencyConflict, StoreUnavailable.
        """
        accepted = await self.database.run(jobs.add, job, data, self._bounds(), key)
        self.arrived.set()
        return accepted

    async def accept_batch(
        self, owner: str, batch_id: str, files: Sequence[tuple[Job, bytes | None]], key: Key | None = None
    ) -> tuple[str, bool]:
        """As `accept`, for all of them or none; a job without bytes has failed already."""
        if key is not None and (before := await self.database.query(jobs.earlier, owner, key)) is not None:
            return before, False
        try:
            for part in _parts(files):
                await self.database.run(batches.add_part, part, self._bounds())
            accepted = await self.database.run(_open_batch, owner, batch_id, self.clock, key)
        except BaseException:
            with suppress(Exception):  # what is left is swept up later
                await asyncio.shield(self.database.run(batches.drop_batch, batch_id))
            raise
        self.arrived.set()
        self.told.set()
        return accepted

    async def see(self, owner: str, id: str) -> Seen:
        """Raises NotFound."""
        seen = await self.database.query(look, owner, id)
        if seen is None:
            raise NotFound("There is no such job.")
        return replace(seen, progress=self.progress.get(id))

    async def wait(self, owner: str, id: str, seconds: float) -> Seen:
        """As `see`, as soon as the job is over or the seconds are."""
        end = asyncio.get_running_loop().time() + min(seconds, LONGEST_WAIT_S)
        with self._listening(id) as ended:
            while True:
                seen = await self.see(owner, id)
                left = end - asyncio.get_running_loop().time()
                if seen.job.status in OVER or left <= 0:
                    return seen
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _LOOK_S)):
                        await ended.wait()

    @contextmanager
    def _listening(self, id: str) -> Iterator[asyncio.Event]:
        ended = asyncio.Event()
        self._waiting.setdefault(id, set()).add(ended)
        try:
            yield ended
        finally:
            others = self._waiting[id]
            others.discard(ended)
            if not others:
                del self._waiting[id]

    def over(self, id: str) -> None:
        """A job has ended: those who wait for it are woken, and its webhook is due."""
        for event in self._waiting.get(id, ()):
            event.set()
        self.told.set()

    async def cancel(self, owner: str, id: str) -> Seen:
        """End it, also in the middle. Raises NotFound, and JobOver when it has ended otherwise."""
        cancelled = await self.database.run(_cancel, owner, id, self.clock)
        self.stopped(id)
        self.over(id)
        seen = await self.see(owner, id)
        if not cancelled and seen.job.status != "cancelled":
            raise JobOver(f"The job is over already: {seen.job.status}.")
        return seen

    async def cancel_batch(self, owner: str, batch_id: str) -> None:
        """End what is not over of a batch, all of it at once."""
        for id in await self.database.run(_cancel_batch, owner, batch_id, self.clock):
            self.stopped(id)
            self.over(id)

    async def results_of(self, owner: str, batch_id: str, page: int = 50) -> AsyncIterator[Seen]:
        """The jobs of a batch in their order, with their results, a page in memory at a time."""
        after = ""
        while found := await self.database.query(_look_page, owner, batch_id, after, page):
            for seen in found:
                yield seen
            after = found[-1].job.id


def look(session: Connection, owner: str, id: str) -> Seen | None:
    """A job with its place, result and message; None when there is none of this owner's."""
    job = jobs.get(session, owner, id)
    return None if job is None else _seen(session, job)


def _seen(session: Connection, job: Job) -> Seen:
    found = records.get(session, job.owner, job.id) if job.status == "done" else None
    return Seen(
        job,
        jobqueue.ahead(session, job.id) if job.status == "queued" else None,
        None if found is None else unpack(found[1]),
        deliveries.of(session, [job.id]).get(job.id) if job.webhook else None,
    )


def _look_page(session: Connection, owner: str, batch_id: str, after: str, limit: int) -> list[Seen]:
    return [_seen(session, job) for job in jobs.search(session, owner, limit, batch_id=batch_id, after=after)]


def _open_batch(session: Connection, owner: str, batch_id: str, clock: Clock, key: Key | None) -> tuple[str, bool]:
    accepted = batches.open_batch(session, owner, batch_id, clock.now(), key)
    if accepted[1]:
        for job in jobs.search(session, owner, _ALL, batch_id=batch_id, status="failed", after=""):
            deliveries.add(session, job, new_id(), clock.timer())
    return accepted


def _cancel(session: Connection, owner: str, id: str, clock: Clock) -> bool:
    cancelled = jobs.cancel(session, owner, id, clock.now())
    job = jobs.get(session, owner, id)
    if cancelled and job is not None:
        deliveries.add(session, job, new_id(), clock.timer())
    return cancelled


def _cancel_batch(session: Connection, owner: str, batch_id: str, clock: Clock) -> list[str]:
    found = jobs.search(session, owner, _ALL, batch_id=batch_id, after="")
    return [job.id for job in found if job.status not in OVER and _cancel(session, owner, job.id, clock)]


def _parts(files: Sequence[tuple[Job, bytes | None]]) -> list[list[tuple[Job, bytes | None]]]:
    """So large that one transaction is short enough for those who write beside it."""
    parts: list[list[tuple[Job, bytes | None]]] = [[]]
    size = 0
    for job, data in files:
        if size > _PART_BYTES or len(parts[-1]) >= 100:
            parts.append([])
            size = 0
        parts[-1].append((job, data))
        size += len(data or b"")
    return parts
