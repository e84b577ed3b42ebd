"""Compare the clock every minute, and store for the next start the earliest time it can be."""

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

FACT = "clock"  # key of the state
_OLD_FACT = "retention"  # key in earlier versions: only the time of the latest sweep
_OBSERVE_S = 60.0
_RETRY_S = 5.0
_SAVE_S = 600.0  # fewer writes, for SD cards


class Timekeeper:
    """Keeper of the clock; one per database. `shared`: use the clock of the PostgreSQL server, so that all its clients agree."""

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
            saved, wall, ticks = await self._database.read(self._read_clock)
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

    def _read_clock(self, conn: Connection) -> tuple[dict[str, Any] | None, datetime, float]:
        saved = facts.get_state(conn, FACT)
        if saved is None and isinstance(old := facts.get_state(conn, _OLD_FACT), str):
            saved = {"time": old}
        if not self._shared:
            return saved, self.clock.wall(), self.clock.ticks()
        return saved, conn.scalars(select(func.clock_timestamp())).one().astimezone(UTC), self.clock.ticks()

    async def ready(self) -> None:
        """Wait until the clock has started, however long the database is unavailable."""
        while self.clock.trusted() is None:
            try:
                await self.trusted()
            except HunyuanOcrError as e:
                log.debug("The clock waits for the database: %s", e.message)
                await asyncio.sleep(_RETRY_S)

    async def run(self) -> None:
        """Observe the clock until cancelled; then save its state."""
        try:
            while True:
                await self.ready()
                with suppress(HunyuanOcrError):  # the next minute may succeed
                    await self.trusted()
                await asyncio.sleep(_OBSERVE_S)
        finally:
            if self.clock.trusted() is not None:
                with suppress(HunyuanOcrError):
                    await asyncio.shield(self._save())
