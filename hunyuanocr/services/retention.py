"""Deletes what is older than the owner wants it kept, by a clock that does not jump (`hunyuanocr.clock`)."""

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

_EVERY_S = 3600.0
_AT_ONCE = 200  # records a transaction: others want to write too


def delete_records(conn: Connection, pictures: ImageStore, owner: str, ids: Sequence[str]) -> int:
    """Delete records of this owner, the pictures that no other record names, and the words of their jobs, inside a writing
    transaction. How many.
    """
    records.lock_pictures(conn)
    gone, named = records.remove(conn, owner, ids)
    jobs.redact(conn, owner, ids)
    _drop(conn, pictures, named)
    return gone


def _drop(conn: Connection, pictures: ImageStore, names: Sequence[str]) -> None:
    pictures.drop(set(names) - records.still_referenced(conn, names))


class Retention:
    """Sweeps every hour. A machine that was off for a week deletes a day later; one whose battery is empty, or whose clock was
    set to the next century, deletes nothing that a person would miss.
    """

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
                log.warning("Nothing was deleted: %s %s", e.message, e.hint)
            except Exception:  # the next sweep may go better
                log.exception("A sweep of old records broke.")
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> int:
        """Delete what is too old; how many records went. Raises StoreUnavailable."""
        now = await self._keeper.trusted()
        gone = images = 0
        if self._keep_days:
            gone = await self._all(self._old_records, now - timedelta(days=self._keep_days))
        if self._image_days:
            images = await self._all(self._old_images, now - timedelta(days=self._image_days))
        await self._orphans(now)
        lines = await self._all(self._old_lines, now - timedelta(days=self._audit_days)) if self._audit_days else 0
        if gone or images or lines:
            log.info("Deleted by age: %d records, %d pictures, %d lines of the audit log.", gone, images, lines)
        await asyncio.to_thread(self.database.truncate_wal)  # also after what people deleted
        return gone

    async def _all(self, some: Callable[[Connection, datetime], int], before: datetime) -> int:
        total = 0
        while count := await self.database.write(some, before):
            total += count
        return total

    def _old_records(self, conn: Connection, before: datetime) -> int:
        found = sorted(records.expired(conn, before, _AT_ONCE))
        for owner, some in groupby(found, key=lambda pair: pair[0]):
            delete_records(conn, self.recorder.pictures, owner, [id for _, id in some])
        return len(found)

    def _old_images(self, conn: Connection, before: datetime) -> int:
        found = records.expired(conn, before, _AT_ONCE, with_image=True)
        if found:
            records.lock_pictures(conn)
            _drop(conn, self.recorder.pictures, records.clear_images(conn, [id for _, id in found]))
        return len(found)

    @staticmethod
    def _old_lines(conn: Connection, before: datetime) -> int:
        return audit.delete_older(conn, before, _AT_ONCE)

    async def _orphans(self, now: datetime) -> None:
        """Pictures that a crash left behind before their record was written."""
        old = self.recorder.pictures.old(now)
        while some := await asyncio.to_thread(lambda: list(islice(old, _AT_ONCE))):
            await self.database.write(self._drop_unnamed, some)

    def _drop_unnamed(self, conn: Connection, names: Sequence[str]) -> None:
        records.lock_pictures(conn)
        _drop(conn, self.recorder.pictures, names)
