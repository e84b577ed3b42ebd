"""Write the audit log in the background. Identical entries within a second are merged; no request waits for the database."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from api.auth.identity import Identity
from hunyuanocr.clock import Clock
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.ids import new_id
from hunyuanocr.store.audit import AuditEntry, append
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

_MAX_PENDING = 10_000  # entries kept in memory while the database is unavailable
_FLUSH_INTERVAL_S = 1.0


class AuditLogWriter:
    """Collects entries and writes them once a second. A power failure loses the last second. `database` None: discard all."""

    def __init__(self, database: Database | None, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
        self._pending: dict[tuple[object, ...], AuditEntry] = {}
        self._lost = 0
        self._write_lock = asyncio.Lock()

    def record(
        self, identity: Identity | None, action: str, what: str, *, status: int = 200, address: str = "", request_id: str = ""
    ) -> None:
        """Queue an entry. `what` is the path of the resource, without the query string."""
        if self._database is None:
            return
        owner, name = ("", "") if identity is None else (identity.owner, identity.name)
        entry = AuditEntry(
            new_id(), owner, self._clock.now(), name, address[:64], action, _printable(what), status, 1, request_id
        )
        self._add(entry)

    def _add(self, entry: AuditEntry) -> None:
        key = (entry.owner, entry.who, entry.address, entry.action, entry.what, entry.status)
        first = self._pending.get(key)
        if first is not None:
            self._pending[key] = replace(first, times=first.times + entry.times)
        elif len(self._pending) < _MAX_PENDING:
            self._pending[key] = entry
        else:
            self._lost += entry.times

    async def flush(self) -> None:
        """Write the queued entries. Raises StoreUnavailable; the entries then stay queued."""
        if self._database is None:
            return
        async with self._write_lock:  # a caller that reads the log next must see entries that another task is writing
            if self._pending:
                await self._write(self._database)

    async def _write(self, database: Database) -> None:
        batch, self._pending = self._pending, {}
        try:
            await database.write(append, list(batch.values()))
        except HunyuanOcrError:
            newer, self._pending = self._pending, batch
            for entry in newer.values():
                self._add(entry)
            raise
        if self._lost:
            log.error("%d audit log entries are lost: the database was unavailable for too long.", self._lost)
            self._lost = 0

    async def run(self) -> None:
        """Write once a second, until cancelled."""
        reported = False
        while True:
            await asyncio.sleep(_FLUSH_INTERVAL_S)
            try:
                await self.flush()
                reported = False
            except HunyuanOcrError as e:
                if not reported:
                    log.warning("Audit log entries wait for the database: %s %s", e.message, e.hint)
                reported = True
            except Exception:  # the task must survive; the next attempt may succeed
                log.exception("Audit log entries could not be written.")


def _printable(what: str) -> str:
    """Replace control characters, which the store rejects and which could forge log lines, and cut to 200 characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in what)[:200]
