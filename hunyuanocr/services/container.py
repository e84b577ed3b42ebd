"""Creates, starts and stops all services that run in the background, from the settings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hunyuanocr.clock import utc_now
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError, StoreDisabled
from hunyuanocr.malloc import trim_memory_periodically
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services import ephemeral
from hunyuanocr.services.background_reader import BackgroundReader
from hunyuanocr.services.camera import CameraService
from hunyuanocr.services.ephemeral import EphemeralSweeper
from hunyuanocr.services.jobs import JobEvents, JobService, JobWorkers, worker
from hunyuanocr.services.jobs.leases import worker_name
from hunyuanocr.services.metrics import Metrics
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.serializers import Serializers
from hunyuanocr.services.sync import Sync
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.services.watch import create_watcher, validate
from hunyuanocr.services.webhooks import Webhooks
from hunyuanocr.store import state
from hunyuanocr.store.database import Database
from hunyuanocr.store.folder import DataFolder
from hunyuanocr.store.image_store import ImageStore
from hunyuanocr.store.workdir import BACKUP, EXPORT, RESTORE, remove_dead

log = logging.getLogger(__name__)

_DRAIN_POLL_INTERVAL_S = 0.05  # for requests that are still running
_PROBE = "probe"  # key of the state that the check writes
_CANCEL_TIMEOUT_S = 0.5  # a service that has not ended by then is cancelled again


class Services:
    """The services of one process; the apps on both ports share them. `database` is None when the store is disabled.

    Raises ConfigError and MissingDependency when the settings of the store cannot work.
    """

    check_interval_s = 60.0  # of the database

    def __init__(self, settings: Settings, pipeline: Pipeline, folder: DataFolder | None = None) -> None:
        self.pipeline = pipeline
        self.data = settings.data
        self.settings = settings
        self._folder = folder or DataFolder(settings.data)
        self.database = Database(settings.database_url) if settings.store.enabled else None
        self.recorder = Recorder(self.database, settings)
        self.background = BackgroundReader(pipeline)
        self.cameras = CameraService(pipeline, settings, self.recorder)
        self._job_events = JobEvents()
        self._job_service = None
        if self.database is not None:
            self._job_service = JobService(self.database, settings.jobs, self.recorder.clock, self._job_events)
        self.sync = create_sync(self.database, settings)
        ephemeral.validate(settings)
        self.keeper = None if self.database is None else Timekeeper(self.database, self.recorder.clock)
        self.ephemeral = None
        if self._job_service is not None and self.keeper is not None and settings.store.ephemeral:
            self.ephemeral = EphemeralSweeper(self._job_service, settings, self.keeper)
        if settings.watch.folder is not None:
            validate(settings.watch)
        self._tasks: list[asyncio.Task[None]] = []
        self.job_counts: Mapping[str, int] = {}
        self.webhook_counts: Mapping[str, int] = {}
        self.draining = False
        self.metrics = Metrics(self)
        pipeline.on_request_end.append(self.metrics.observe_request)

    @property
    def store(self) -> Database:
        """The database. Raises StoreDisabled when there is none."""
        if self.database is None:
            raise StoreDisabled("The store is disabled on this machine.")
        return self.database

    @property
    def job_service(self) -> JobService:
        """The job service. Raises StoreDisabled when there is no database."""
        if self._job_service is None:
            raise StoreDisabled("Jobs need the store, which is disabled on this machine.")
        return self._job_service

    async def start(self, serializers: Serializers) -> None:
        """Start all services and return at once, even if the database is unavailable.

        Raises ConfigError while another server uses the data folder.
        """
        await asyncio.to_thread(claim_folder, self._folder, self.settings)
        self._run(trim_memory_periodically)
        if self.settings.watch.folder is not None:
            watcher = create_watcher(
                self.settings.watch, self.settings, self.background, serializers.answer, recorder=self.recorder
            )
            self._run(watcher.run)
        if self.database is not None and self.keeper is not None:
            self._start_jobs(self.database, self.keeper, serializers)
            retention = Retention(self.database, self.recorder, self.settings, self.keeper)
            for work in (self._watch_database, self.keeper.run, retention.run):
                self._run(work)
        for other in (self.ephemeral, self.sync):
            if other is not None:
                self._run(other.run)

    def _start_jobs(self, database: Database, keeper: Timekeeper, serializers: Serializers) -> None:
        name, events, jobs = worker_name(self._folder.instance), self._job_events, self.settings.jobs
        workers = JobWorkers(
            database,
            events,
            self.recorder,
            self.background,
            self.settings,
            worker=name,
            poll_interval_s=None if self._is_exclusive(database) else worker.POLL_INTERVAL_S,
        )
        webhooks = Webhooks(database, events, self.recorder.clock, jobs, worker=name, body=serializers.job)
        self.job_counts, self.webhook_counts = workers.counts, webhooks.counts

        async def when_clock_is_ready(work: Callable[[], Awaitable[None]]) -> None:
            await keeper.ready()
            await work()

        for work in (workers.run, webhooks.run):
            self._tasks.append(asyncio.create_task(when_clock_is_ready(work)))

    def _is_exclusive(self, database: Database) -> bool:
        """Return whether the lock of the data folder keeps other servers away from the database: a SQLite file in it."""
        folder, file = self._folder.folder.resolve(), Path(str(database.url.database)).resolve()
        return self._folder.locked and database.sqlite and file.is_relative_to(folder)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.create_task(work()))

    async def _watch_database(self) -> None:
        """Report a database that cannot be written at the start and every minute, not at the first request."""
        write = True
        while True:
            try:
                self.store.check_space()
                await (self.store.write(state.set_state, _PROBE, True) if write else self.store.read(state.get_state, _PROBE))
            except HunyuanOcrError as e:
                self.recorder.report_failure(f"{e.message} {e.hint}")
            except Exception:  # the next check may succeed
                log.exception("Unexpected error while checking the database.")
            else:
                self.recorder.last_error = None if write else self.recorder.last_error
            write = self.recorder.last_error is not None  # otherwise a read is enough: fewer writes, for SD cards
            await asyncio.sleep(self.check_interval_s)

    async def drain(self, grace_s: float) -> None:
        """Refuse new requests and wait at most so many seconds for those that are running.

        Jobs go back into their queue at once; they are read after the restart.
        """
        self.draining = self.cameras.draining = True
        await self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.pipeline.busy:  # noqa: ASYNC110 -- several counts
                    await asyncio.sleep(_DRAIN_POLL_INTERVAL_S)

    async def stop(self) -> None:
        """Stop all services before the pipeline closes."""
        pending = set(self._tasks)
        while pending:  # Python 3.11's `wait_for` loses a cancellation that arrives together with the result
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_TIMEOUT_S)

    async def close(self) -> None:
        """Close the store after the pipeline has closed: all results have been recorded."""
        self.cameras.close()
        if self.ephemeral is not None and self.database is not None:
            with suppress(HunyuanOcrError):
                await asyncio.to_thread(self.database.truncate_wal)
        if self.database is not None:
            await asyncio.to_thread(self.database.close)
        self._folder.release()


def claim_folder(folder: DataFolder, settings: Settings) -> None:
    """Lock the data folder, if it is used, and delete unfinished files of processes that were killed.

    Raises ConfigError while another server holds the lock.
    """
    if settings.store.enabled or folder.folder.is_dir():
        folder.acquire()
        remove_dead(folder.folder, BACKUP, RESTORE, EXPORT)  # copies of the data, left by killed processes
        if folder.locked:
            ImageStore(folder.folder / "images").remove_unfinished()


def create_sync(database: Database | None, settings: Settings) -> Sync | None:
    """Return the sender of records to HQ, or None when it is disabled. Raises ConfigError for settings that cannot work."""
    if not settings.sync.enabled:
        return None
    if database is None:
        raise ConfigError(
            "The sync sends records, but the store that holds them is disabled.",
            hint="Set 'store.enabled' to true, or 'sync.enabled' to false.",
        )
    return Sync(database, settings.sync, clock=utc_now)
