"""Writes the audit log beside the requests: lines that are alike within a second become one, and none holds up an answer."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from api.auth.identity import Identity
from hunyuanocr.clock import Clock
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.store.audit import AuditEntry, append
from hunyuanocr.store.database import Database
from hunyuanocr.store.ids import new_id

log = logging.getLogger(__name__)

_MAX_COUNT = 10_000  # lines that wait for a database that is away
_EVERY_S = 1.0


class AuditLogWriter:
    """What happened, on its way into the database. A power cut loses the latest second. Without a database it keeps nothing."""

    def __init__(self, database: Database | None, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
        self._waiting: dict[tuple[object, ...], AuditEntry] = {}
        self._lost = 0
        self._writing = asyncio.Lock()

    def record(
        self, identity: Identity | None, action: str, what: str, *, status: int = 200, address: str = "", request_id: str = ""
    ) -> None:
        """Remember a line: who did what to which address, never with a query or a body."""
        if self._database is None:
            return
        owner, who = ("", "") if identity is None else (identity.owner, identity.name)
        entry = AuditEntry(new_id(), owner, self._clock.now(), who, address[:64], action, _plain(what), status, 1, request_id)
        self._add(entry)

    def _add(self, entry: AuditEntry) -> None:
        alike = (entry.owner, entry.who, entry.address, entry.action, entry.what, entry.status)
        first = self._waiting.get(alike)
        if first is not None:
            self._waiting[alike] = replace(first, times=first.times + entry.times)
        elif len(self._waiting) < _MAX_COUNT:
            self._waiting[alike] = entry
        else:
            self._lost += entry.times

    async def flush(self) -> None:
        """Write what waits. Raises StoreUnavailable, and then it waits on."""
        if self._database is None:
            return
        async with self._writing:  # who reads the log after this must see what another is writing now
            if self._waiting:
                await self._write(self._database)

    async def _write(self, database: Database) -> None:
        some, self._waiting = self._waiting, {}
        try:
            await database.write(append, list(some.values()))
        except HunyuanOcrError:
            later, self._waiting = self._waiting, some
            for entry in later.values():
                self._add(entry)
            raise
        if self._lost:
            log.error("The audit log lacks %d lines: the database was away for too long.", self._lost)
            self._lost = 0

    async def run(self) -> None:
        """Write every second, until cancelled."""
        told = False
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.flush()
                told = False
            except HunyuanOcrError as e:
                if not told:
                    log.warning("The audit log waits for the database: %s %s", e.message, e.hint)
                told = True
            except Exception:  # the next second may go better
                log.exception("Lines of the audit log could not be written.")


def _plain(what: str) -> str:
    """As the store takes it, in lines that nobody can forge."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in what)[:200]
