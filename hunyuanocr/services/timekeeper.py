"""Keeps the clock honest: compares it every minute, and writes down for the next start how late it certainly is."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select

from hunyuanocr.clock import Clock
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.store import state as facts
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

FACT = "clock"
_OLD_FACT = "retention"  # versions before this one: the time of the latest sweep alone
_OBSERVE_S = 60.0
_RETRY_S = 5.0
_SAVE_S = 600.0  # an SD card is not written every minute


class Timekeeper:
    """One for a database. `shared`: the clock of the PostgreSQL server counts, so that all at it agree; SQLite has none."""

    def __init__(self, database: Database, clock: Clock, *, shared: bool = True) -> None:
        self.clock = clock
        self._database = database
        self._shared = shared and not database.sqlite
        self._lock = asyncio.Lock()
        self._saved_at = float("-inf")  # ticks
        self._saved_doubt = False

    async def trusted(self) -> datetime:
        """Return the time by which ages are computed, after comparing it with the wall clock. Raises StoreUnavailable."""
        async with self._lock:
            saved, wall, ticks = await self._database.read(self._look)
            if self.clock.trusted() is None:
                self.clock.begin(saved, wall, ticks)
            self.clock.observe(wall, ticks)
            due = self.clock.ticks() - self._saved_at >= _SAVE_S
            if due or self.clock.doubtful != self._saved_doubt:
                await self._save()
        return self.clock.timer()

    async def _save(self) -> None:
        await self._database.write(facts.set_state, FACT, self.clock.state())
        self._saved_at, self._saved_doubt = self.clock.ticks(), self.clock.doubtful

    def _look(self, session: Connection) -> tuple[dict[str, Any] | None, datetime, float]:
        saved = facts.get_state(session, FACT)
        if saved is None and isinstance(old := facts.get_state(session, _OLD_FACT), str):
            saved = {"time": old}
        if not self._shared:
            return saved, self.clock.wall(), self.clock.ticks()
        return saved, session.scalars(select(func.clock_timestamp())).one().astimezone(UTC), self.clock.ticks()

    async def ready(self) -> None:
        """Wait until the clock has begun, however long the database is away."""
        while self.clock.trusted() is None:
            try:
                await self.trusted()
            except HunyuanOcrError as e:
                log.debug("The clock waits for the database: %s", e.message)
                await asyncio.sleep(_RETRY_S)

    async def run(self) -> None:
        """Observe until cancelled; then write down where the clock stood."""
        try:
            while True:
                await self.ready()
                with suppress(HunyuanOcrError):  # the next minute may go better
                    await self.trusted()
                await asyncio.sleep(_OBSERVE_S)
        finally:
            if self.clock.trusted() is not None:
                with suppress(HunyuanOcrError):
                    await asyncio.shield(self._save())
