"""Where nothing is kept (`store.ephemeral`): jobs are there until their results were fetched, or for some minutes."""

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

_EVERY_S = 5.0
_SLACK = timedelta(minutes=1)
_AT_ONCE = 200  # jobs a transaction: others want to write too


def validate(settings: Settings) -> None:
    """Raise ConfigError where other settings want to keep what this one forbids."""
    if not settings.store.ephemeral:
        return
    for name, on in (("sync.enabled", settings.sync.enabled), ("store.keep_images", settings.store.keep_images)):
        if on:
            raise ConfigError(f"'store.ephemeral' keeps nothing, and '{name}' wants to keep.", hint="Switch one of them off.")


class EphemeralSweeper:
    """Forgets jobs that are over, with their results: overwritten in the database, and cut from its log."""

    def __init__(self, job_service: JobService, settings: Settings, keeper: Timekeeper) -> None:
        self._job_service = job_service
        self._keeper = keeper
        self._ahead: dict[str, float] = {}  # jobs that ended at a time to come, of a clock that was wrong: ticks when first seen
        self._keep = timedelta(minutes=settings.store.ephemeral_minutes)
        self._over = -1  # jobs that were over at the last look: their pictures were deleted

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            try:
                await self.sweep()
            except HunyuanOcrError as e:
                log.warning("Nothing could be forgotten: %s %s", e.message, e.hint)
            except Exception:  # the next look may go better
                log.exception("Something broke inside while results were to be forgotten.")
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> None:
        """Forget what nobody has fetched in time. Raises StoreUnavailable."""
        now = await self._keeper.trusted()
        gone = 0
        while some := await self._job_service.database.write(_forget_old, now - self._keep):
            gone += some
        gone += await self._forget_ahead(now)
        states = await self._job_service.database.read(jobs.by_status)
        over = sum(states[state] for state in jobs.FINISHED)
        if gone or over != self._over:
            await asyncio.to_thread(self._job_service.database.truncate_wal)
        self._over = over

    async def _forget_ahead(self, now: datetime) -> int:
        """A wrong clock keeps nothing for longer: what ended in the future is forgotten so long after it was first seen."""
        found = dict(await self._job_service.database.read(jobs.over_after, now + _SLACK))
        ticks = self._keeper.clock.ticks()
        self._ahead = {id: self._ahead.get(id, ticks) for id in found}
        late = [id for id, since in self._ahead.items() if ticks - since > self._keep.total_seconds()]
        for id in late:
            await self._job_service.database.write(_forget, found[id], [id])
        return len(late)

    async def fetched(self, owner: str, ids: Sequence[str]) -> None:
        """Its owner has the results of these jobs. Whatever goes wrong, the sweep comes after it."""
        try:
            await self._job_service.database.write(_forget, owner, ids)
            await asyncio.to_thread(self._job_service.database.truncate_wal)
        except HunyuanOcrError as e:
            log.warning("Results that were fetched are forgotten later: %s", e.message)


def _forget(conn: Connection, owner: str, ids: Sequence[str]) -> None:
    over = jobs.forget(conn, owner, ids)
    records.remove(conn, owner, over)


def _forget_old(conn: Connection, before: datetime) -> int:
    old = jobs.finished_before(conn, before, _AT_ONCE)
    for owner, id in old:
        _forget(conn, owner, [id])
    return len(old)
