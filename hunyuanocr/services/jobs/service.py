"""Accepts jobs, reports their state and cancels them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hunyuanocr.clock import Clock
from hunyuanocr.config import JobSettings
from hunyuanocr.errors import JobAlreadyFinished, NotFound
from hunyuanocr.ids import new_id
from hunyuanocr.services.jobs.events import JobEvents
from hunyuanocr.store import batches, deliveries, jobqueue, jobs, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.deliveries import Delivery
from hunyuanocr.store.jobqueue import QueueLimits
from hunyuanocr.store.jobs import FINISHED, IdempotencyKey, Job
from hunyuanocr.store.result_codec import decode_result
from hunyuanocr.types import Progress, Result

log = logging.getLogger(__name__)

MAX_WAIT_S = 60.0  # of one request; proxies cut longer ones
POLL_INTERVAL_S = 3.0  # while a client waits: another process at the same database may have finished the job
_ALL = 1_000_000
_CHUNK_BYTES = 8_000_000  # of a batch, in one transaction
_CHUNK_FILES = 100
_NEWEST_WEIGHT = 0.1  # of the latest job in the running mean
_MIN_RETRY_S, _MAX_RETRY_S = 5.0, 600.0


@dataclass(frozen=True)
class JobView:
    """A job as its owner sees it. `ahead`: jobs before it while it is queued. `result`: None once its record is deleted."""

    job: Job
    ahead: int | None = None
    result: Result | None = None
    delivery: Delivery | None = None
    progress: Progress | None = None  # of a document of several pages, while this process reads it


class JobService:
    """Accepts jobs, reports their state, cancels them.

    `poll_interval_s`: how often a waiting request reads the database, which another process may change.
    """

    def __init__(
        self,
        database: Database,
        settings: JobSettings,
        clock: Clock,
        events: JobEvents | None = None,
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self.database = database
        self.clock = clock
        self.now = clock.now
        self.events = events or JobEvents()
        self.progress: dict[str, Progress] = {}  # of the jobs that this process is reading
        self.mean_seconds: float | None = None  # running mean of the jobs that this process has read
        self._settings = settings
        self._poll_interval_s = poll_interval_s
        self.waiting: dict[str, set[asyncio.Event]] = {}
        self.events.progress.subscribe(self.progress.__setitem__)
        self.events.read.subscribe(self._on_read)
        self.events.finished.subscribe(self._on_finished)

    def _on_read(self, id: str, seconds: float | None) -> None:
        self.progress.pop(id, None)
        if seconds is not None:
            before = self.mean_seconds
            self.mean_seconds = seconds if before is None else (1 - _NEWEST_WEIGHT) * before + _NEWEST_WEIGHT * seconds

    def _on_finished(self, id: str) -> None:
        for event in self.waiting.get(id, ()):
            event.set()

    def _queue_limits(self) -> QueueLimits:
        """Return the limits; a refused client may retry when about a tenth of the queue has been read."""
        tenth_s = (self.mean_seconds or 0.0) * self._settings.queue / 10
        retry_after = min(max(_MIN_RETRY_S, tenth_s), _MAX_RETRY_S)
        return QueueLimits(self._settings.queue, int(self._settings.queue_mb * 1e6), retry_after)

    async def submit(self, job: Job, data: bytes, key: IdempotencyKey | None = None) -> tuple[str, bool]:
        """Store a job. Return its id, and False when `key` already belongs to an equal job: then the id is that job's.

        Raises QueueFull, IdempotencyConflict, StoreUnavailable.
        """
        accepted = await self.database.write(jobs.add, job, data, self._queue_limits(), key)
        self.events.submitted.publish()
        return accepted

    async def submit_batch(
        self, owner: str, batch_id: str, files: Sequence[tuple[Job, bytes | None]], key: IdempotencyKey | None = None
    ) -> tuple[str, bool]:
        """Store all jobs of a batch or none, as `submit` does; a job without bytes has failed already."""
        if key is not None and (before := await self.database.read(jobs.find_idempotent, owner, key)) is not None:
            return before, False
        try:
            for chunk in _chunks(files):
                await self.database.write(batches.insert_chunk, chunk, self._queue_limits())
            accepted = await self.database.write(_open_batch, owner, batch_id, self.clock, key)
        except BaseException:
            with suppress(Exception):  # the regular clean-up removes the rest
                await asyncio.shield(self.database.write(batches.drop_batch, batch_id))
            raise
        self.events.submitted.publish()
        self.events.webhook_due.publish()  # of the jobs that have failed already
        return accepted

    async def get(self, owner: str, id: str) -> JobView:
        """Return the job's state. Raises NotFound."""
        view = await self.database.read(load_job_view, owner, id)
        if view is None:
            raise NotFound("There is no such job.")
        return replace(view, progress=self.progress.get(id))

    async def wait(self, owner: str, id: str, seconds: float) -> JobView:
        """Return the job's state when it has finished, or after so many seconds (`MAX_WAIT_S` at most). Raises NotFound."""
        end = asyncio.get_running_loop().time() + min(seconds, MAX_WAIT_S)
        with self._listening(id) as finished:
            while True:
                view = await self.get(owner, id)
                left = end - asyncio.get_running_loop().time()
                if view.job.status in FINISHED or left <= 0:
                    return view
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._poll_interval_s)):
                        await finished.wait()

    @contextmanager
    def _listening(self, id: str) -> Iterator[asyncio.Event]:
        finished = asyncio.Event()
        self.waiting.setdefault(id, set()).add(finished)
        try:
            yield finished
        finally:
            others = self.waiting[id]
            others.discard(finished)
            if not others:
                del self.waiting[id]

    async def cancel(self, owner: str, id: str) -> JobView:
        """Cancel a job, also while it is being read. Raises NotFound, and JobAlreadyFinished when it has finished otherwise."""
        cancelled = await self.database.write(_cancel, owner, id, self.clock)
        self._publish_cancelled(id)
        view = await self.get(owner, id)
        if not cancelled and view.job.status != "cancelled":
            raise JobAlreadyFinished(f"The job has already finished: {view.job.status}.")
        return view

    async def cancel_batch(self, owner: str, batch_id: str) -> None:
        """Cancel all jobs of a batch that have not finished, in one transaction."""
        for id in await self.database.write(_cancel_batch, owner, batch_id, self.clock):
            self._publish_cancelled(id)

    def _publish_cancelled(self, id: str) -> None:
        self.events.cancelled.publish(id)
        self.events.finished.publish(id)

    async def results_of(self, owner: str, batch_id: str, page: int = 50) -> AsyncIterator[JobView]:
        """Yield the jobs of a batch in their order, with their results; `page` of them are in memory at a time."""
        after = ""
        while views := await self.database.read(_load_page, owner, batch_id, after, page):
            for view in views:
                yield view
            after = views[-1].job.id


def load_job_view(conn: Connection, owner: str, id: str) -> JobView | None:
    """Return a job with its queue position, result and webhook; None when this owner has no such job."""
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


def _chunks(files: Sequence[tuple[Job, bytes | None]]) -> list[list[tuple[Job, bytes | None]]]:
    """Split a batch into transactions that are short enough for concurrent writers."""
    chunks: list[list[tuple[Job, bytes | None]]] = [[]]
    size = 0
    for job, data in files:
        if size > _CHUNK_BYTES or len(chunks[-1]) >= _CHUNK_FILES:
            chunks.append([])
            size = 0
        chunks[-1].append((job, data))
        size += len(data or b"")
    return chunks
