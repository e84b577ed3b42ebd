"""Delete data that is older than the retention settings, by a clock that does not jump (`hunyuanocr.clock`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby, islice

from sqlalchemy import Connection

from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import audit, jobs, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.image_store import ImageStore

log = logging.getLogger(__name__)

_INTERVAL_S = 3600.0


def delete_records(conn: Connection, pictures: ImageStore, owner: str, ids: Sequence[str]) -> int:
    """Delete records of this owner, images that no other record references, and text of their jobs; return their number.

    Runs inside a write transaction.
    """
    records.lock_pictures(conn)
    deleted, images = records.remove(conn, owner, ids)
    jobs.redact(conn, owner, ids)
    _drop(conn, pictures, images)
    return deleted


def _drop(conn: Connection, pictures: ImageStore, names: Sequence[str]) -> None:
    pictures.drop(set(names) - records.still_referenced(conn, names))


class Retention:
    """Delete expired data every hour.

    A machine that was off for a week deletes a day later. A machine with an empty battery or a clock set to the next century
    deletes nothing early.
    """

    batch_size = 200  # records per transaction, so that other writers do not wait

    def __init__(self, database: Database, recorder: Recorder, settings: Settings, keeper: Timekeeper) -> None:
        self.database = database
        self.recorder = recorder
        self._keep_days = settings.store.retention_days
        self._image_days = settings.store.image_days
        self._audit_days = settings.security.audit_days
        self._keeper = keeper

    async def run(self) -> None:
        """Sweep now and every hour, until cancelled."""
        while True:
            try:
                await self.sweep()
            except HunyuanOcrError as e:
                log.warning("Expired data was not deleted: %s %s", e.message, e.hint)
            except Exception:  # the next sweep may succeed
                log.exception("Unexpected error while deleting expired data.")
            await asyncio.sleep(_INTERVAL_S)

    async def sweep(self) -> int:
        """Delete expired data; return the number of deleted records. Raises StoreUnavailable."""
        now = await self._keeper.trusted()
        deleted = images = 0
        if self._keep_days:
            deleted = await self._all(self._old_records, now - timedelta(days=self._keep_days))
        if self._image_days:
            images = await self._all(self._old_images, now - timedelta(days=self._image_days))
        await self._orphans(now)
        lines = await self._all(self._old_lines, now - timedelta(days=self._audit_days)) if self._audit_days else 0
        if deleted or images or lines:
            log.info("Deleted by age: %d records, %d images, %d audit log entries.", deleted, images, lines)
        await asyncio.to_thread(self.database.truncate_wal)  # also after deletions by users
        return deleted

    async def _all(self, delete_some: Callable[[Connection, datetime], int], before: datetime) -> int:
        total = 0
        while count := await self.database.write(delete_some, before):
            total += count
        return total

    def _old_records(self, conn: Connection, before: datetime) -> int:
        expired = sorted(records.expired(conn, before, self.batch_size))
        for owner, group in groupby(expired, key=lambda pair: pair[0]):
            delete_records(conn, self.recorder.pictures, owner, [id for _, id in group])
        return len(expired)

    def _old_images(self, conn: Connection, before: datetime) -> int:
        expired = records.expired(conn, before, self.batch_size, with_image=True)
        if expired:
            records.lock_pictures(conn)
            _drop(conn, self.recorder.pictures, records.clear_images(conn, [id for _, id in expired]))
        return len(expired)

    def _old_lines(self, conn: Connection, before: datetime) -> int:
        return audit.delete_older(conn, before, self.batch_size)

    async def _orphans(self, now: datetime) -> None:
        """Delete images without a record, which a crash leaves behind."""
        old = self.recorder.pictures.old(now)
        while names := await asyncio.to_thread(lambda: list(islice(old, self.batch_size))):
            await self.database.write(self._drop_unreferenced, names)

    def _drop_unreferenced(self, conn: Connection, names: Sequence[str]) -> None:
        records.lock_pictures(conn)
        _drop(conn, self.recorder.pictures, names)
