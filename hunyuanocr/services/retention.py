"""Deletes what is older than the owner wants it kept; and believes no clock that has jumped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby, islice

from sqlalchemy import Connection

from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.services.recording import Recorder
from hunyuanocr.store import audit, facts, jobs, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.pictures import Pictures

log = logging.getLogger(__name__)

_EVERY_S = 3600.0
_AT_ONCE = 200  # records a transaction: others want to write too
_JUMP = timedelta(days=2)  # a clock may have moved by so much between two sweeps
_PROOF_S = 24 * 3600.0  # how long a clock that jumped must run evenly before it is believed
_UNEVEN_S = 600.0
_FACT = "retention"


def erase(session: Connection, pictures: Pictures, owner: str, ids: Sequence[str]) -> int:
    """Delete records of this owner, the pictures that no other record names, and the words of their jobs, inside a writing
    transaction. How many.
    """
    records.lock_pictures(session)
    gone, named = records.remove(session, owner, ids)
    jobs.silence(session, owner, ids)
    _drop(session, pictures, named)
    return gone


def _drop(session: Connection, pictures: Pictures, names: Sequence[str]) -> None:
    pictures.drop(set(names) - records.named(session, names))


class Retention:
    """Sweeps every hour. `clock` is the wall's, `ticks` one that never jumps, in seconds.

    A clock that stands more than two days after the latest sweep, or before it, is not believed until it has run evenly for a
    day: until then nothing is deleted, and records made meanwhile carry no time before the latest sweep (`Recorder.floor`).
    A machine that was off for a week deletes a day later; one whose battery is empty, or whose clock was set to the next
    century, deletes nothing that a person would miss.
    """

    def __init__(
        self, database: Database, recorder: Recorder, settings: Settings, *,
        clock: Callable[[], datetime], ticks: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.database = database
        self.recorder = recorder
        self._keep_days = settings.store.retention_days
        self._image_days = settings.store.image_days
        self._audit_days = settings.security.audit_days
        self._clock, self._ticks = clock, ticks
        self._jumped: tuple[datetime, float] | None = None  # wall and ticks when a jump was seen

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
        now = self._clock()
        if not await self._believed(now):
            return 0
        gone = images = 0
        if self._keep_days:
            gone = await self._all(self._old_records, now - timedelta(days=self._keep_days))
        if self._image_days:
            images = await self._all(self._old_images, now - timedelta(days=self._image_days))
        await self._orphans()
        lines = await self._all(self._old_lines, now - timedelta(days=self._audit_days)) if self._audit_days else 0
        if gone or images or lines:
            log.info("Deleted by age: %d records, %d pictures, %d lines of the audit log.", gone, images, lines)
        await asyncio.to_thread(self.database.scrub)  # also after what people deleted
        return gone

    async def _believed(self, now: datetime) -> bool:
        """Whether this clock may delete; if so, remembered as the latest sweep's."""
        kept = await self.database.query(facts.get, _FACT)
        latest = now if kept is None else datetime.fromisoformat(kept)
        self.recorder.floor = latest
        if not timedelta(0) <= now - latest <= _JUMP and not self._proved(now):
            return False
        self._jumped = None
        await self.database.run(facts.put, _FACT, now.isoformat())
        self.recorder.floor = now
        return True

    def _proved(self, now: datetime) -> bool:
        if self._jumped is not None:
            wall, ticks = self._jumped
            run = self._ticks() - ticks
            if abs((now - wall).total_seconds() - run) < _UNEVEN_S:
                return run >= _PROOF_S
        log.warning("The clock says %s, which is not believed yet: nothing is deleted by age for a day.", now.isoformat())
        self._jumped = now, self._ticks()
        return False

    async def _all(self, some: Callable[[Connection, datetime], int], before: datetime) -> int:
        total = 0
        while count := await self.database.run(some, before):
            total += count
        return total

    def _old_records(self, session: Connection, before: datetime) -> int:
        found = sorted(records.older(session, before, _AT_ONCE))
        for owner, some in groupby(found, key=lambda pair: pair[0]):
            erase(session, self.recorder.pictures, owner, [id for _, id in some])
        return len(found)

    def _old_images(self, session: Connection, before: datetime) -> int:
        found = records.older(session, before, _AT_ONCE, with_image=True)
        if found:
            records.lock_pictures(session)
            _drop(session, self.recorder.pictures, records.forget_images(session, [id for _, id in found]))
        return len(found)

    @staticmethod
    def _old_lines(session: Connection, before: datetime) -> int:
        return audit.drop_older(session, before, _AT_ONCE)

    async def _orphans(self) -> None:
        """Pictures that a crash left behind before their record was written."""
        old = self.recorder.pictures.old()
        while some := await asyncio.to_thread(lambda: list(islice(old, _AT_ONCE))):
            await self.database.run(self._drop_unnamed, some)

    def _drop_unnamed(self, session: Connection, names: Sequence[str]) -> None:
        records.lock_pictures(session)
        _drop(session, self.recorder.pictures, names)
