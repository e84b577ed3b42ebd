"""Who reads the jobs: some hands that take the next one, read it, and end it together with its record, in one transaction."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from hunyuanocr import log_setup
from hunyuanocr.aio import run_alongside
from hunyuanocr.clock import Clock
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendCrashed, BackendFailed, DeadlineExceeded, HunyuanOcrError, StoreUnavailable
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Request
from hunyuanocr.services.background_reader import MAX_WORKERS, BackgroundReader
from hunyuanocr.services.jobs.leases import LeaseWatch
from hunyuanocr.services.jobs.service import JobService
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store import batches, deliveries, jobs, leases
from hunyuanocr.store.database import Database
from hunyuanocr.store.ids import new_id
from hunyuanocr.store.jobs import Job
from hunyuanocr.store.leases import Lease
from hunyuanocr.store.records import Entry
from hunyuanocr.types import Result, Task

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # of a job at which the process died or the reader failed
_IDLE_S = 5.0  # between two looks for jobs that another process has accepted
_LEASE_S = 60.0
_SWEEP_S = 600.0
_BATCH_ARRIVES_S = 3600.0  # an upload that is not over by then never will be
_MAX_BACKOFF_S = 30.0
_NEWEST = 0.1  # weight of the latest job in the mean of their times


def worker_name(instance: str) -> str:
    """The same after a restart, and another one for each appliance at the same database: `instance` is its data folder's id."""
    return f"{socket.gethostname()[:100]}:{instance}"


class JobWorkers:
    """As many as the reader needs. `counts` are the jobs that have ended since the start."""

    def __init__(
        self, job_service: JobService, recorder: Recorder, background: BackgroundReader, settings: Settings, worker: str
    ) -> None:
        self.job_service = job_service
        self.recorder = recorder
        self.background = background
        self.settings = settings
        self.worker = worker
        self.counts = {"done": 0, "failed": 0}
        self._database: Database = job_service.database
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._mine: set[str] = set()  # from the claim to the end; what is ours in the database alone, by mishap, loses its lease
        self._leases = LeaseWatch(_LEASE_S)
        job_service.on_cancelled = self._stop

    async def run(self) -> None:
        """Read jobs until cancelled; then what was begun is queued again."""
        await self._retry_store(partial(self._database.write, _recover, self.worker, (), self.job_service.clock))
        self.job_service.webhook_due.set()
        try:
            async with asyncio.TaskGroup() as group:
                for hand in range(MAX_WORKERS):
                    group.create_task(self._worker_loop(hand))
                group.create_task(_every(_LEASE_S / 3, self._keep_leases))
                group.create_task(_every(_SWEEP_S, self._keep_clean))
        finally:
            await asyncio.shield(self._release())

    async def _release(self) -> None:
        try:
            await self._database.write(jobs.release, self.worker)
        except StoreUnavailable as e:
            log.warning("What was being read is queued again at the next start: %s", e.message)

    async def _worker_loop(self, hand: int) -> None:
        while True:
            await self.background.wait_until_needed(hand)
            try:
                if await self._claim_next():
                    continue
            except StoreUnavailable as e:
                log.warning("No jobs are read for now: %s %s", e.message, e.hint)
                await asyncio.sleep(_IDLE_S)
                continue
            except Exception:  # a fault of ours costs one job its turn, not the queue its hands
                log.exception("Something broke inside while a job was read.")
                await asyncio.sleep(1.0)
            self.job_service.submitted.clear()
            if await self._database_has_work():
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_S):
                    await self.job_service.submitted.wait()

    async def _database_has_work(self) -> bool:
        """Whether a job came between the look and the wait, that is for us."""
        try:
            begun = await self._database.read(jobs.next_attempt_count)
        except StoreUnavailable:
            return False
        return begun is not None and (begun == 0 or not self.background.suspect_running)

    async def _claim_next(self) -> bool:
        """Read one job, if there is one."""
        begun = await self._database.read(jobs.next_attempt_count)
        if begun is None or (begun and self.background.suspect_running):
            return False
        async with self.background.slot(suspect=begun > 0):
            taken = await self._database.write(jobs.claim, self.worker, self.job_service.now(), _LEASE_S, suspects=begun > 0)
            if taken is None:
                return False
            job, data = taken
            self._mine.add(job.id)
            try:
                outcome = await self._read(job, data)
            except BaseException:
                self._mine.discard(job.id)
                raise
        try:
            await self._finish_safely(job, data, outcome)
        finally:
            self._mine.discard(job.id)
        return True

    async def _finish_safely(self, job: Job, data: bytes, outcome: Result | HunyuanOcrError | None) -> None:
        if outcome is None:
            return
        try:
            await self._end(job, data, outcome)
        except Exception:  # whatever it is, no job stays half-way
            log.exception("The end of the job %s could not be written.", job.id)
            await self._end(job, data, HunyuanOcrError("Something broke inside."))

    async def _read(self, job: Job, data: bytes) -> Result | HunyuanOcrError | None:
        """The result or the failure; None when the job was cancelled."""
        began = asyncio.get_running_loop().time()
        async with run_alongside(self._reading(job, data)) as reading:
            self._running[job.id] = reading
            try:
                await asyncio.wait((reading,))
            finally:
                del self._running[job.id]
                self.job_service.progress.pop(job.id, None)
        if reading.cancelled():
            return None
        took = asyncio.get_running_loop().time() - began
        before = self.job_service.mean_seconds
        self.job_service.mean_seconds = took if before is None else (1 - _NEWEST) * before + _NEWEST * took
        failure = reading.exception()
        if failure is None:
            return reading.result()
        if isinstance(failure, HunyuanOcrError):
            return failure
        log.error("The job %s broke inside.", job.id, exc_info=failure)
        return HunyuanOcrError("Something broke inside.")

    async def _reading(self, job: Job, data: bytes) -> Result:
        with log_setup.request_context(job.id):
            task = await asyncio.to_thread(task_from_params, job.wanted)
            request = Request(
                data, task, owner=job.owner, id=job.id, deadline_s=self.settings.jobs.deadline_s, client=job.fair_key
            )
            return await self.background.read(request, partial(self.job_service.progress.__setitem__, job.id))

    async def _end(self, job: Job, data: bytes, outcome: Result | HunyuanOcrError) -> None:
        """Write the end down, however long the database is away: what has been read is not read again."""
        if isinstance(outcome, Result):
            entry = await asyncio.to_thread(
                self.recorder.prepare, outcome, owner=job.owner, source="job",
                instruction=str(job.wanted.get("instruction") or ""), device=job.device,
            )  # fmt: skip
            ended = await self._retry_store(partial(self._database.write, self._done, job, outcome, entry, data))
        elif _passing(outcome) and job.attempts < MAX_ATTEMPTS:
            await self._retry_store(partial(self._database.write, jobs.requeue, job, uncounted=False))
            self.job_service.submitted.set()
            return
        else:
            ended = await self._retry_store(partial(self._database.write, _failed, job, outcome, self.job_service.clock))
        if ended:
            self.counts["done" if isinstance(outcome, Result) else "failed"] += 1
        self.job_service.finished(job.id)

    def _done(self, conn: Connection, job: Job, result: Result, entry: Entry, data: bytes) -> bool:
        if not jobs.finish(conn, job, "done", self.job_service.now(), pages=len(result.page_sizes)):
            return False
        self.recorder.write(conn, entry, data)
        deliveries.add(conn, job, new_id(), self.job_service.clock.timer())
        return True

    def _stop(self, id: str) -> None:
        reading = self._running.get(id)
        if reading is not None:
            reading.cancel()

    async def _keep_leases(self) -> None:
        """Tell the others that we live, hear what was cancelled elsewhere, and queue again what dead ones have left."""
        ours = await self._database.write(jobs.renew, self.worker, set(self._mine), self.job_service.now(), _LEASE_S)
        for id in self._running.keys() - ours:
            self._stop(id)
        if expired := self._leases.expired(await self._database.read(leases.leases)):
            await self._database.write(_recover, None, expired, self.job_service.clock)
            self.job_service.submitted.set()

    async def _keep_clean(self) -> None:
        now = self.job_service.clock.trusted()
        if now is None:
            return
        await self._database.write(batches.forget_unfinished_batches, now - timedelta(seconds=_BATCH_ARRIVES_S))
        await self._database.write(jobs.delete_expired, now - timedelta(hours=self.settings.jobs.retention_hours))

    async def _retry_store(self, work: Callable[[], Awaitable[T]]) -> T:
        rest = 0.5
        while True:
            try:
                return await work()
            except StoreUnavailable as e:
                log.warning("The end of a job waits for the database: %s %s", e.message, e.hint)
                await asyncio.sleep(rest)
                rest = min(2 * rest, _MAX_BACKOFF_S)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except StoreUnavailable as e:
            log.warning("The queue of jobs is not looked after for now: %s", e.message)
        except Exception:
            log.exception("Something broke inside while the queue of jobs was looked after.")
        await asyncio.sleep(seconds)


def task_from_params(params: Mapping[str, Any]) -> Task:
    """What was asked for, as it came with the request. Raises InvalidValue."""
    return parse_instruction(
        params.get("instruction") or "", task=params.get("task"), fields=params.get("fields"), schema=params.get("schema"),
        language=params.get("language"), evidence=params.get("evidence") or "fast",
    )  # fmt: skip


def _passing(e: HunyuanOcrError) -> bool:
    """Whether another try may go better."""
    return isinstance(e, (BackendFailed, DeadlineExceeded)) or type(e) is HunyuanOcrError


def _failed(conn: Connection, job: Job, e: HunyuanOcrError, clock: Clock) -> bool:
    error = {"code": e.code, "detail": e.message, "hint": e.hint}
    if not jobs.finish(conn, job, "failed", clock.now(), pages=None, error=error):
        return False
    deliveries.add(conn, replace(job, status="failed"), new_id(), clock.timer())
    return True


def _recover(conn: Connection, worker: str | None, expired: Collection[Lease], clock: Clock) -> None:
    """Queue what was being read when its worker died, or give it up when that has happened too often."""
    if worker is not None:
        deliveries.release_stale(conn, worker, clock.timer())
    for job in leases.find_orphaned(conn, worker, expired):
        if job.attempts >= MAX_ATTEMPTS:
            _failed(conn, job, BackendCrashed(f"The process died {job.attempts} times while this picture was read."), clock)
        else:
            jobs.requeue(conn, job, uncounted=False)
