"""All that runs beside the requests, made from the settings and started and ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from sqlalchemy import Connection, text

from hunyuanocr.clock import utc_now
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError, StoreDisabled
from hunyuanocr.malloc import trim_memory_periodically
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services import ephemeral
from hunyuanocr.services.background_reader import BackgroundReader
from hunyuanocr.services.camera import CameraService
from hunyuanocr.services.ephemeral import EphemeralSweeper
from hunyuanocr.services.jobs import JobService, JobWorkers
from hunyuanocr.services.jobs.worker import worker_name
from hunyuanocr.services.metrics import Metrics
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.serializers import Serializers
from hunyuanocr.services.sync import Sync
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.services.watch import create_watcher, validate
from hunyuanocr.services.webhooks import Webhooks
from hunyuanocr.store.database import Database
from hunyuanocr.store.folder import DataFolder
from hunyuanocr.store.image_store import ImageStore
from hunyuanocr.store.workdir import BACKUP, EXPORT, RESTORE, remove_dead

log = logging.getLogger(__name__)

_POLL_INTERVAL_S = 0.05  # at what is still being read
_CANCEL_TIMEOUT_S = 0.5  # before a service that was told to end is told again


class Services:
    """One set for the process: the apps on both ports share it. `database` is None where the store is switched off.

    Raises ConfigError and MissingDependency when the settings of the store cannot work.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline, folder: DataFolder | None = None) -> None:
        self.pipeline = pipeline
        self.data = settings.data
        self._folder = folder or DataFolder(settings.data)
        self.database = Database(settings.database_url) if settings.store.enabled else None
        self.recorder = Recorder(self.database, settings)
        self.background = BackgroundReader(pipeline)
        self.cameras = CameraService(pipeline, settings, self.recorder)
        self._job_service = None if self.database is None else JobService(self.database, settings.jobs, self.recorder.clock)
        self.sync = create_sync(self.database, settings)
        ephemeral.validate(settings)
        self._keeper = None if self.database is None else Timekeeper(self.database, self.recorder.clock)
        self.ephemeral = None
        if self._job_service is not None and self._keeper is not None and settings.store.ephemeral:
            self.ephemeral = EphemeralSweeper(self._job_service, settings, self._keeper)
        if settings.watch.folder is not None:
            validate(settings.watch)
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self.job_counts: Mapping[str, int] = {}
        self.webhook_counts: Mapping[str, int] = {}
        self.draining = False
        self.metrics = Metrics(self)
        pipeline.on_request_end.append(self.metrics.observe_request)

    @property
    def store(self) -> Database:
        """The database; raises StoreOff where there is none."""
        if self.database is None:
            raise StoreDisabled("Nothing is kept on this machine.")
        return self.database

    @property
    def job_service(self) -> JobService:
        """Where jobs are accepted; raises StoreOff where there is no database."""
        if self._job_service is None:
            raise StoreDisabled("Nothing is kept on this machine, so that no jobs can be.")
        return self._job_service

    async def start(self, serializers: Serializers) -> None:
        """Begin; returns at once, also where the database does not answer. Raises ConfigError where another server uses the data
        folder.
        """
        await asyncio.to_thread(claim_folder, self._folder, self._settings)
        self._tasks.append(asyncio.create_task(trim_memory_periodically()))
        if self._settings.watch.folder is not None:
            watcher = create_watcher(
                self._settings.watch, self._settings, self.background, serializers.answer, recorder=self.recorder
            )
            self._tasks.append(asyncio.create_task(watcher.run()))
        if self._job_service is not None:
            hands = JobWorkers(
                self._job_service, self.recorder, self.background, self._settings, worker_name(self._folder.instance)
            )
            webhooks = Webhooks(self._job_service, self._settings.jobs, hands.worker, serializers.job)
            self.job_counts, self.webhook_counts = hands.counts, webhooks.counts
            self._tasks += [asyncio.create_task(self._timed(work)) for work in (hands.run, webhooks.run)]
        if self.database is not None and self._keeper is not None:
            retention = Retention(self.database, self.recorder, self._settings, self._keeper)
            self._tasks += [asyncio.create_task(run) for run in (self._open(self.database), self._keeper.run(), retention.run())]
        if self.ephemeral is not None:
            self._tasks.append(asyncio.create_task(self.ephemeral.run()))
        if self.sync is not None:
            self._tasks.append(asyncio.create_task(self.sync.run()))

    async def _timed(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin this when it is known how late it is."""
        if self._keeper is not None:
            await self._keeper.ready()
        await work()

    async def _open(self, database: Database) -> None:
        """A trouble is told at the start, and not by the first request."""
        try:
            await database.read(_look)
        except HunyuanOcrError as e:
            self.recorder.last_error = f"{e.message} {e.hint}"
            log.error("%s: %s", database.display_url, self.recorder.last_error)

    async def drain(self, grace_s: float) -> None:
        """Refuse what is new and let what is read at the counter end, for so many seconds. Jobs go back into their queue at once:
        they are read after the restart.
        """
        self.draining = self.cameras.draining = True
        await self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.pipeline.busy:  # noqa: ASYNC110 -- several counts
                    await asyncio.sleep(_POLL_INTERVAL_S)

    async def stop(self) -> None:
        """No new work is begun; called before the pipeline closes."""
        pending = set(self._tasks)
        while pending:  # Python 3.11's `wait_for` loses a cancellation that comes together with what it waits for
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_TIMEOUT_S)

    async def close(self) -> None:
        """The end, after the pipeline's: what was read has been recorded."""
        self.cameras.close()
        if self.ephemeral is not None and self.database is not None:
            with suppress(HunyuanOcrError):
                await asyncio.to_thread(self.database.truncate_wal)
        if self.database is not None:
            await asyncio.to_thread(self.database.close)
        self._folder.release()


def claim_folder(folder: DataFolder, settings: Settings) -> None:
    """Take the data folder's lock, where something is kept in it, and delete what killed processes have left there half-way.

    Raises ConfigError while another server has it.
    """
    if settings.store.enabled or folder.folder.is_dir():
        folder.acquire()
        remove_dead(folder.folder, BACKUP, RESTORE, EXPORT)  # copies of what is kept, left by those that were killed
        if folder.locked:
            ImageStore(folder.folder / "images").remove_unfinished()


def create_sync(database: Database | None, settings: Settings) -> Sync | None:
    """The sender that the settings ask for. Raises ConfigError for settings that cannot work."""
    if not settings.sync.enabled:
        return None
    if database is None:
        raise ConfigError("The sync sends records, and none are kept.", hint="Switch 'store.enabled' on, or 'sync.enabled' off.")
    return Sync(database, settings.sync, clock=utc_now)


def _look(conn: Connection) -> None:
    conn.execute(text("SELECT 1"))
