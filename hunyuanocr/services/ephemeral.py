"""Storage without retention (`store.ephemeral`): jobs exist until their results are fetched, or for some minutes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, HunyuanOcrError
from hunyuanocr.services.jobs.service import JobService
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import jobs, records

log = logging.getLogger(__name__)

_INTERVAL_S = 5.0
_SLACK = timedelta(minutes=1)
_BATCH_SIZE = 200  # jobs per transaction, so that other writers do not wait


def validate(settings: Settings) -> None:
    """Raise ConfigError if other settings store what `store.ephemeral` forbids."""
    if not settings.store.ephemeral:
        return
    for name, on in (("sync.enabled", settings.sync.enabled), ("store.keep_images", settings.store.keep_images)):
        if on:
            raise ConfigError(f"'store.ephemeral' and '{name}' exclude each other.", hint="Disable one of them.")


class EphemeralSweeper:
    """Delete finished jobs with their results: overwritten in the database and removed from its log."""

    def __init__(self, job_service: JobService, settings: Settings, keeper: Timekeeper) -> None:
        self._job_service = job_service
        self._keeper = keeper
        self._future: dict[str, float] = {}  # jobs with a future finish time (wrong clock): ticks at which they were first seen
        self._keep = timedelta(minutes=settings.store.ephemeral_minutes)
        self._finished = -1  # number of finished jobs at the last sweep: their images were deleted

    async def run(self) -> None:
        """Sweep every few seconds until cancelled."""
        while True:
            try:
                await self.sweep()
            except HunyuanOcrError as e:
                log.warning("Expired results were not deleted: %s %s", e.message, e.hint)
            except Exception:  # the next sweep may succeed
                log.exception("Unexpected error while deleting expired results.")
            await asyncio.sleep(_INTERVAL_S)

    async def sweep(self) -> None:
        """Delete results that were not fetched in time. Raises StoreUnavailable."""
        now = await self._keeper.trusted()
        deleted = 0
        while count := await self._job_service.database.write(_forget_old, now - self._keep):
            deleted += count
        deleted += await self._forget_future(now)
        states = await self._job_service.database.read(jobs.by_status)
        finished = sum(states[state] for state in jobs.FINISHED)
        if deleted or finished != self._finished:
            await asyncio.to_thread(self._job_service.database.truncate_wal)
        self._finished = finished

    async def _forget_future(self, now: datetime) -> int:
        """Delete jobs with a future finish time (wrong clock) after the usual time since they were first seen."""
        owners = dict(await self._job_service.database.read(jobs.over_after, now + _SLACK))
        ticks = self._keeper.clock.ticks()
        self._future = {id: self._future.get(id, ticks) for id in owners}
        expired = [id for id, since in self._future.items() if ticks - since > self._keep.total_seconds()]
        for id in expired:
            await self._job_service.database.write(_forget, owners[id], [id])
        return len(expired)

    async def fetched(self, owner: str, ids: Sequence[str]) -> None:
        """Delete results that their owner has fetched. Never raises; the sweep deletes what is left."""
        try:
            await self._job_service.database.write(_forget, owner, ids)
            await asyncio.to_thread(self._job_service.database.truncate_wal)
        except HunyuanOcrError as e:
            log.warning("Fetched results will be deleted later: %s", e.message)


def _forget(conn: Connection, owner: str, ids: Sequence[str]) -> None:
    forgotten = jobs.forget(conn, owner, ids)
    records.remove(conn, owner, forgotten)


def _forget_old(conn: Connection, before: datetime) -> int:
    expired = jobs.finished_before(conn, before, _BATCH_SIZE)
    for owner, id in expired:
        _forget(conn, owner, [id])
    return len(expired)
