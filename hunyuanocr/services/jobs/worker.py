"""Workers that claim the next job, read it, and store its result together with its final state, in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from hunyuanocr import log_setup
from hunyuanocr.aio import run_alongside
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendFailed, DeadlineExceeded, HunyuanOcrError, StoreUnavailable
from hunyuanocr.ids import new_id
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Request
from hunyuanocr.services.background_reader import MAX_WORKERS, BackgroundReader
from hunyuanocr.services.jobs import recovery
from hunyuanocr.services.jobs.events import JobEvents
from hunyuanocr.services.jobs.leases import LeaseWatch
from hunyuanocr.services.jobs.recovery import fail_job, recover_jobs
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store import batches, deliveries, jobs, leases
from hunyuanocr.store.database import Database
from hunyuanocr.store.jobs import Job
from hunyuanocr.store.records import Entry
from hunyuanocr.types import Result, ResultWarning, Task

T = TypeVar("T")
log = logging.getLogger(__name__)

POLL_INTERVAL_S = 5.0  # for jobs that another process at the same database has accepted
_STORE_RETRY_S = 5.0
_ERROR_PAUSE_S = 1.0
_LEASE_S = 60.0
_CLEAN_UP_INTERVAL_S = 600.0
_MAX_UPLOAD_S = 3600.0  # an upload of a batch that has not finished by then never will
_MAX_BACKOFF_S = 30.0


class JobWorkers:
    """Reads jobs with as many workers as the backend needs. `counts`: jobs finished since the start, by outcome.

    A worker without a job sleeps until an event. `poll_interval_s`: how often one of them reads the queue all the same; None when
    no other process can add jobs.
    """

    def __init__(
        self,
        database: Database,
        events: JobEvents,
        recorder: Recorder,
        background: BackgroundReader,
        settings: Settings,
        *,
        worker: str,
        poll_interval_s: float | None = POLL_INTERVAL_S,
    ) -> None:
        self.recorder = recorder
        self.background = background
        self.settings = settings
        self.worker = worker
        self.counts = {"done": 0, "failed": 0}
        self._database = database
        self._events = events
        self._clock = recorder.clock
        self._poll_interval_s = poll_interval_s
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._claimed: set[str] = set()  # a job that is ours in the database alone, after an error, loses its lease
        self._leases = LeaseWatch(_LEASE_S)
        self._wake = [asyncio.Event() for _ in range(MAX_WORKERS)]
        self._idle: set[int] = set()

    @property
    def idle(self) -> bool:
        """Whether all workers sleep."""
        return len(self._idle) == MAX_WORKERS

    async def run(self) -> None:
        """Read jobs until cancelled; jobs that have not finished then are queued again."""
        await self._retry_store(partial(self._database.write, recover_jobs, self.worker, (), self._clock))
        self._events.webhook_due.publish()
        subscriptions = [self._events.submitted.subscribe(self._wake_all), self._events.cancelled.subscribe(self._stop)]
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(MAX_WORKERS):
                    group.create_task(self._worker_loop(index))
                group.create_task(_every(_LEASE_S / 3, self._keep_leases))
                group.create_task(_every(_CLEAN_UP_INTERVAL_S, self.clean_up))
                if self._poll_interval_s is not None:
                    group.create_task(_every(self._poll_interval_s, self._poll))
        finally:
            for unsubscribe in subscriptions:
                unsubscribe()
            await asyncio.shield(self._release())

    async def _release(self) -> None:
        try:
            await self._database.write(jobs.release, self.worker)
        except StoreUnavailable as e:
            log.warning("Unfinished jobs are queued again at the next start: %s", e.message)

    async def _worker_loop(self, index: int) -> None:
        wake = self._wake[index]
        while True:
            wake.clear()  # before the claim, so that no event is lost between the claim and the sleep
            try:
                if self.background.needs_worker(index) and await self._claim_next():
                    continue
            except StoreUnavailable as e:
                log.warning("No jobs can be read now: %s %s", e.message, e.hint)
                await asyncio.sleep(_STORE_RETRY_S)
                continue
            except Exception:  # an internal error costs this job one attempt, not the queue a worker
                log.exception("Internal error while a job was read.")
                await asyncio.sleep(_ERROR_PAUSE_S)
                continue
            self._idle.add(index)
            try:
                await wake.wait()
            finally:
                self._idle.discard(index)

    def _wake_all(self) -> None:
        for event in self._wake:
            event.set()

    def _wake_next(self) -> None:
        """Wake one idle worker; if it finds a job it wakes the next."""
        if self._idle:
            self._wake[min(self._idle)].set()

    async def _poll(self) -> None:
        self._wake_next()

    async def _claim_next(self) -> bool:
        """Read one job. Return False when there is none for this worker."""
        attempts = await self._database.read(jobs.next_attempt_count)
        if attempts is None or (attempts and self.background.suspect_running):
            return False
        async with self.background.slot(suspect=attempts > 0):
            claimed = await self._database.write(jobs.claim, self.worker, self._clock.now(), _LEASE_S, suspects=attempts > 0)
            if claimed is None:
                return False
            job, data = claimed
            self._claimed.add(job.id)
            self._wake_next()
            try:
                outcome = await self._read(job, data)
            except BaseException:
                self._claimed.discard(job.id)
                raise
        try:
            await self._finish_safely(job, data, outcome)
        finally:
            self._claimed.discard(job.id)
        return True

    async def _finish_safely(self, job: Job, data: bytes, outcome: Result | HunyuanOcrError | None) -> None:
        if outcome is None:
            return
        try:
            await self._finish(job, data, outcome)
        except Exception:  # no error may leave a job unfinished
            log.exception("The result of job %s could not be stored.", job.id)
            await self._finish(job, data, HunyuanOcrError("Internal error."))

    async def _read(self, job: Job, data: bytes) -> Result | HunyuanOcrError | None:
        """Return the result or the error; None when the job was cancelled."""
        loop = asyncio.get_running_loop()
        started, seconds = loop.time(), None
        async with run_alongside(self._recognise(job, data)) as reading:
            self._running[job.id] = reading
            try:
                await asyncio.wait((reading,))
                seconds = None if reading.cancelled() else loop.time() - started
            finally:
                del self._running[job.id]
                self._events.read.publish(job.id, seconds)
        if reading.cancelled():
            return None
        error = reading.exception()
        if error is None:
            return reading.result()
        if isinstance(error, HunyuanOcrError):
            return error
        log.error("Internal error in job %s.", job.id, exc_info=error)
        return HunyuanOcrError("Internal error.")

    async def _recognise(self, job: Job, data: bytes) -> Result:
        with log_setup.request_context(job.id):
            task = await asyncio.to_thread(task_from_params, job.params)
            request = Request(
                data, task, owner=job.owner, id=job.id, deadline_s=self.settings.jobs.deadline_s, client=job.fair_key
            )
            result = await self.background.read(request, partial(self._events.progress.publish, job.id))
            notices = (ResultWarning(code, message) for code, message in job.params.get("warnings", ()))
            return replace(result, notices=(*result.notices, *notices))

    async def _finish(self, job: Job, data: bytes, outcome: Result | HunyuanOcrError) -> None:
        """Store the outcome, however long the database is unavailable, so that no job is read twice."""
        if isinstance(outcome, Result):
            entry = await asyncio.to_thread(
                self.recorder.prepare,
                outcome,
                owner=job.owner,
                source="job",
                instruction=str(job.params.get("instruction") or ""),
                device=job.device,
            )
            stored = await self._retry_store(partial(self._database.write, self._done, job, outcome, entry, data))
        elif _is_transient(outcome) and job.attempts < recovery.MAX_ATTEMPTS:
            await self._retry_store(partial(self._database.write, jobs.requeue, job, uncounted=False))
            self._events.submitted.publish()
            return
        else:
            stored = await self._retry_store(partial(self._database.write, fail_job, job, outcome, self._clock))
        if stored:
            self.counts["done" if isinstance(outcome, Result) else "failed"] += 1
        self._events.finished.publish(job.id)

    def _done(self, conn: Connection, job: Job, result: Result, entry: Entry, data: bytes) -> bool:
        if not jobs.finish(conn, job, "done", self._clock.now(), pages=len(result.page_sizes)):
            return False
        self.recorder.write(conn, entry, data)
        deliveries.add(conn, job, new_id(), self._clock.timer())
        return True

    def _stop(self, id: str) -> None:
        reading = self._running.get(id)
        if reading is not None:
            reading.cancel()

    async def _keep_leases(self) -> None:
        """Renew our leases, stop jobs that another process has cancelled, and queue the jobs of dead workers again."""
        ours = await self._database.write(jobs.renew, self.worker, set(self._claimed), self._clock.now(), _LEASE_S)
        for id in self._running.keys() - ours:
            self._stop(id)
        if expired := self._leases.expired(await self._database.read(leases.leases)):
            await self._database.write(recover_jobs, None, expired, self._clock)
            self._events.submitted.publish()
        if self._claimed:
            self._wake_next()  # another model may need more workers than before

    async def clean_up(self) -> None:
        """Delete unfinished batches and expired jobs. Does nothing until the clock is trusted."""
        now = self._clock.trusted()
        if now is None:
            return
        await self._database.write(batches.forget_unfinished_batches, now - timedelta(seconds=_MAX_UPLOAD_S))
        await self._database.write(jobs.delete_expired, now - timedelta(hours=self.settings.jobs.retention_hours))

    async def _retry_store(self, work: Callable[[], Awaitable[T]]) -> T:
        backoff_s = 0.5
        while True:
            try:
                return await work()
            except StoreUnavailable as e:
                log.warning("The state of a job cannot be stored now, retrying: %s %s", e.message, e.hint)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as e:
            log.warning("The job queue cannot be maintained now: %s", e.message)
        except Exception:
            log.exception("Internal error while the job queue was maintained.")
        await asyncio.sleep(seconds)


def task_from_params(params: Mapping[str, Any]) -> Task:
    """Return the task that the stored parameters of a job describe. Raises InvalidValue."""
    return parse_instruction(
        params.get("instruction") or "",
        task=params.get("task"),
        fields=params.get("fields"),
        schema=params.get("schema"),
        language=params.get("language"),
        evidence=params.get("evidence") or "fast",
        pages=params.get("pages") or "auto",
    )


def _is_transient(e: HunyuanOcrError) -> bool:
    """Return whether another attempt may succeed."""
    return isinstance(e, (BackendFailed, DeadlineExceeded)) or type(e) is HunyuanOcrError
