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
from hunyuanocr.errors import JobAlreadyFinished, NotFound
from hunyuanocr.store import batches, deliveries, jobqueue, jobs, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.deliveries import Delivery
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import FINISHED, IdempotencyKey, Job
from hunyuanocr.store.result_codec import decode_result
from hunyuanocr.types import Progress, Result

log = logging.getLogger(__name__)

MAX_WAIT_S = 60.0  # of one question; proxies cut longer ones
_POLL_INTERVAL_S = 3.0  # between two looks while somebody waits: another process, at the same database, may have ended the job
_ALL = 1_000_000
_PART_BYTES = 8_000_000  # of a batch, in one transaction


@dataclass(frozen=True)
class JobView:
    """A job as its owner sees it. `queue_position` is how many come before it while it is queued. No record, no result."""

    job: Job
    ahead: int | None = None
    result: Result | None = None
    delivery: Delivery | None = None
    progress: Progress | None = None  # of a document of several pages, while this process reads it


class JobService:
    """Accepts jobs, answers questions about them, cancels them. `submitted` wakes who reads them."""

    def __init__(self, database: Database, settings: JobSettings, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.now = clock.now
        self.submitted = asyncio.Event()
        self.on_cancelled: Callable[[str], None] = lambda _: None  # the hands hear of a cancelled job by it
        self.webhook_due = asyncio.Event()  # a message is due
        self.progress: dict[str, Progress] = {}  # told by the hands, of jobs that they read
        self.mean_seconds: float | None = None  # a running mean, told by the hands
        self._settings = settings
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def _queue_limits(self) -> QueueLimits:
        """Those who come too many are told to come back when a tenth of the queue has been read."""
        retry_after = min(max(5.0, (self.mean_seconds or 0.0) * self._settings.queue / 10), 600.0)
        return QueueLimits(self._settings.queue, int(self._settings.queue_mb * 1e6), retry_after)

    async def submit(self, job: Job, data: bytes, key: IdempotencyKey | None = None) -> tuple[str, bool]:
        """The id of the job, which survives anything from now on, and whether it is new.

        Raises QueueFull, IdempotencyConflict, StoreUnavailable.
        """
        accepted = await self.database.write(jobs.add, job, data, self._queue_limits(), key)
        self.submitted.set()
        return accepted

    async def submit_batch(
        self, owner: str, batch_id: str, files: Sequence[tuple[Job, bytes | None]], key: IdempotencyKey | None = None
    ) -> tuple[str, bool]:
        """As `submit`, for all of them or none; a job without bytes has failed already."""
        if key is not None and (before := await self.database.read(jobs.find_idempotent, owner, key)) is not None:
            return before, False
        try:
            for part in _parts(files):
                await self.database.write(batches.insert_chunk, part, self._queue_limits())
            accepted = await self.database.write(_open_batch, owner, batch_id, self.clock, key)
        except BaseException:
            with suppress(Exception):  # what is left is swept up later
                await asyncio.shield(self.database.write(batches.drop_batch, batch_id))
            raise
        self.submitted.set()
        self.webhook_due.set()
        return accepted

    async def get(self, owner: str, id: str) -> JobView:
        """Raises NotFound."""
        seen = await self.database.read(load_job_view, owner, id)
        if seen is None:
            raise NotFound("There is no such job.")
        return replace(seen, progress=self.progress.get(id))

    async def wait(self, owner: str, id: str, seconds: float) -> JobView:
        """As `get`, as soon as the job is over or the seconds are."""
        end = asyncio.get_running_loop().time() + min(seconds, MAX_WAIT_S)
        with self._listening(id) as ended:
            while True:
                seen = await self.get(owner, id)
                left = end - asyncio.get_running_loop().time()
                if seen.job.status in FINISHED or left <= 0:
                    return seen
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, _POLL_INTERVAL_S)):
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

    def finished(self, id: str) -> None:
        """A job has ended: those who wait for it are woken, and its webhook is due."""
        for event in self._waiting.get(id, ()):
            event.set()
        self.webhook_due.set()

    async def cancel(self, owner: str, id: str) -> JobView:
        """End it, also in the middle. Raises NotFound, and JobOver when it has ended otherwise."""
        cancelled = await self.database.write(_cancel, owner, id, self.clock)
        self.on_cancelled(id)
        self.finished(id)
        seen = await self.get(owner, id)
        if not cancelled and seen.job.status != "cancelled":
            raise JobAlreadyFinished(f"The job is over already: {seen.job.status}.")
        return seen

    async def cancel_batch(self, owner: str, batch_id: str) -> None:
        """End what is not over of a batch, all of it at once."""
        for id in await self.database.write(_cancel_batch, owner, batch_id, self.clock):
            self.on_cancelled(id)
            self.finished(id)

    async def results_of(self, owner: str, batch_id: str, page: int = 50) -> AsyncIterator[JobView]:
        """The jobs of a batch in their order, with their results, a page in memory at a time."""
        after = ""
        while found := await self.database.read(_load_page, owner, batch_id, after, page):
            for seen in found:
                yield seen
            after = found[-1].job.id


def load_job_view(conn: Connection, owner: str, id: str) -> JobView | None:
    """A job with its place, result and message; None when there is none of this owner's."""
    job = jobs.get(conn, owner, id)
    return None if job is None else _job_view(conn, job)


def _job_view(conn: Connection, job: Job) -> JobView:
    found = records.get(conn, job.owner, job.id) if job.status == "done" else None
    return JobView(
        job,
        jobqueue.queue_position(conn, job.id) if job.status == "queued" else None,
        None if found is None else decode_result(found[1]),
        deliveries.by_job(conn, [job.id]).get(job.id) if job.webhook else None,
    )


def _load_page(conn: Connection, owner: str, batch_id: str, after: str, limit: int) -> list[JobView]:
    return [_job_view(conn, job) for job in jobs.search(conn, owner, limit, batch_id=batch_id, after=after)]


def _open_batch(conn: Connection, owner: str, batch_id: str, clock: Clock, key: IdempotencyKey | None) -> tuple[str, bool]:
    accepted = batches.commit_batch(conn, owner, batch_id, clock.now(), key)
    if accepted[1]:
        for job in jobs.search(conn, owner, _ALL, batch_id=batch_id, status="failed", after=""):
            deliveries.add(conn, job, new_id(), clock.timer())
    return accepted


def _cancel(conn: Connection, owner: str, id: str, clock: Clock) -> bool:
    cancelled = jobs.cancel(conn, owner, id, clock.now())
    job = jobs.get(conn, owner, id)
    if cancelled and job is not None:
        deliveries.add(conn, job, new_id(), clock.timer())
    return cancelled


def _cancel_batch(conn: Connection, owner: str, batch_id: str, clock: Clock) -> list[str]:
    found = jobs.search(conn, owner, _ALL, batch_id=batch_id, after="")
    return [job.id for job in found if job.status not in FINISHED and _cancel(conn, owner, job.id, clock)]


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
