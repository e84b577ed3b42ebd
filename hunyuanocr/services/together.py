"""All that runs beside the requests, made from the settings and started and ended together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from sqlalchemy import Connection, text

from hunyuanocr.clock import wall_clock
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError, StoreOff
from hunyuanocr.memory import give_back_for_ever
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services import ephemeral
from hunyuanocr.services.background import Background
from hunyuanocr.services.camera import Cameras
from hunyuanocr.services.ephemeral import Ephemeral
from hunyuanocr.services.jobs import Desk, Hands
from hunyuanocr.services.jobs.hands import worker_name
from hunyuanocr.services.metrics import Metrics
from hunyuanocr.services.recording import Recorder
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.sync import Sync
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.services.watch import check, watcher_for
from hunyuanocr.services.webhooks import Webhooks
from hunyuanocr.services.wire import Wire
from hunyuanocr.store.database import Database
from hunyuanocr.store.folder import DataFolder
from hunyuanocr.store.pictures import Pictures
from hunyuanocr.store.workdir import BACKUP, EXPORT, RESTORE, remove_dead

log = logging.getLogger(__name__)

_LOOK_S = 0.05  # at what is still being read
_PATIENCE_S = 0.5  # before a service that was told to end is told again


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
        self.background = Background(pipeline)
        self.cameras = Cameras(pipeline, settings, self.recorder)
        self._desk = None if self.database is None else Desk(self.database, settings.jobs, self.recorder.clock)
        self.sync = sync_of(self.database, settings)
        ephemeral.check(settings)
        self._keeper = None if self.database is None else Timekeeper(self.database, self.recorder.clock)
        self.ephemeral = None
        if self._desk is not None and self._keeper is not None and settings.store.ephemeral:
            self.ephemeral = Ephemeral(self._desk, settings, self._keeper)
        if settings.watch.folder is not None:
            check(settings.watch)
        self._settings = settings
        self._tasks: list[asyncio.Task[None]] = []
        self.job_counts: Mapping[str, int] = {}
        self.webhook_counts: Mapping[str, int] = {}
        self.draining = False
        self.metrics = Metrics(self)
        pipeline.listeners.append(self.metrics.note)

    @property
    def store(self) -> Database:
        """The database; raises StoreOff where there is none."""
        if self.database is None:
            raise StoreOff("Nothing is kept on this machine.")
        return self.database

    @property
    def desk(self) -> Desk:
        """Where jobs are accepted; raises StoreOff where there is no database."""
        if self._desk is None:
            raise StoreOff("Nothing is kept on this machine, so that no jobs can be.")
        return self._desk

    async def start(self, wire: Wire) -> None:
        """Begin; returns at once, also where the database does not answer. Raises ConfigError where another server uses the data
        folder.
        """
        await asyncio.to_thread(claim_folder, self._folder, self._settings)
        self._tasks.append(asyncio.create_task(give_back_for_ever()))
        if self._settings.watch.folder is not None:
            watcher = watcher_for(self._settings.watch, self._settings, self.background, wire.answer, recorder=self.recorder)
            self._tasks.append(asyncio.create_task(watcher.run()))
        if self._desk is not None:
            hands = Hands(self._desk, self.recorder, self.background, self._settings, worker_name(self._folder.instance))
            webhooks = Webhooks(self._desk, self._settings.jobs, hands.worker, wire.job)
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
            await database.query(_look)
        except HunyuanOcrError as e:
            self.recorder.trouble = f"{e.message} {e.hint}"
            log.error("%s: %s", database.place, self.recorder.trouble)

    async def drain(self, grace_s: float) -> None:
        """Refuse what is new and let what is read at the counter end, for so many seconds. Jobs go back into their queue at once:
        they are read after the restart.
        """
        self.draining = self.cameras.leaving = True
        await self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.pipeline.busy:  # noqa: ASYNC110 -- several counts
                    await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """No new work is begun; called before the pipeline closes."""
        pending = set(self._tasks)
        while pending:  # Python 3.11's `wait_for` loses a cancellation that comes together with what it waits for
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_PATIENCE_S)

    async def close(self) -> None:
        """The end, after the pipeline's: what was read has been recorded."""
        self.cameras.close()
        if self.ephemeral is not None and self.database is not None:
            with suppress(HunyuanOcrError):
                await asyncio.to_thread(self.database.scrub)
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
            Pictures(folder.folder / "images").remove_unfinished()


def sync_of(database: Database | None, settings: Settings) -> Sync | None:
    """The sender that the settings ask for. Raises ConfigError for settings that cannot work."""
    if not settings.sync.enabled:
        return None
    if database is None:
        raise ConfigError("The sync sends records, and none are kept.", hint="Switch 'store.enabled' on, or 'sync.enabled' off.")
    return Sync(database, settings.sync, clock=wall_clock)


def _look(session: Connection) -> None:
    session.execute(text("SELECT 1"))
