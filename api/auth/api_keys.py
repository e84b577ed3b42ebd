"""Authentication by API key, against a table in memory that is at most a second older than the database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from api.auth.identity import Identity
from hunyuanocr.clock import Clock
from hunyuanocr.errors import HunyuanOcrError, StoreUnavailable
from hunyuanocr.services.api_keys import PREFIX, Scope, hash_secret
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database
from hunyuanocr.store.keys import ApiKeyRow

log = logging.getLogger(__name__)

_MAX_AGE_S = 0.8  # of the table: a key that another process revokes is refused within a second
_MAX_STALE_S = 300.0  # the table is used for so long while the database does not answer
_TOUCH_INTERVAL_S = 60.0  # the time of a key's last use is written at most this often
_DUMMY_HASH = hashlib.sha256(b"").hexdigest()  # compared for unknown ids, so that they take the same time


def identity_of_key(key: ApiKeyRow) -> Identity:
    """Return the identity of the client that sends this key."""
    until = None if key.expires_at is None else key.expires_at.timestamp()
    scopes = frozenset(Scope(scope) for scope in key.scopes if scope in list(Scope))
    return Identity(key.owner, key.name, scopes, "key", key=key.id, until=until)


class ApiKeyCache:
    """The API keys of a database, in memory.

    `marker_file` exists once a key was created; it still proves that keys are required while the database is unavailable. The
    table is read on its own thread, so that a long search of records does not delay authentication. `ticks` is a monotonic clock.
    """

    wait_s = 2.0  # a request waits so long for a new table

    def __init__(self, database: Database, marker_file: Path, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
        self.ticks: Callable[[], float] = time.monotonic
        self.marker_file = marker_file
        self._keys: dict[str, ApiKeyRow] = {}
        self._at = self._tried = self._changed = -_MAX_STALE_S
        self._loading: asyncio.Task[None] | None = None
        self._slow = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._seen: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    async def lookup(self, text: str) -> ApiKeyRow | None:
        """Return the key with this text, or None unless it is active. Raises StoreUnavailable."""
        id = text.removeprefix(PREFIX).partition("_")[0]
        key = (await self._table()).get(id)
        if not hmac.compare_digest(hash_secret(text), _DUMMY_HASH if key is None else key.hash) or key is None:
            return None
        return self._used(key)

    async def by_id(self, id: str) -> ApiKeyRow | None:
        """Return the key of a session, or None unless it is active. Raises StoreUnavailable."""
        key = (await self._table()).get(id)
        return None if key is None else self._used(key)

    async def has_keys(self) -> bool:
        """Return whether a key was ever created here. Revoking the last key, or losing the database, does not change it."""
        if self.marker_file.exists():
            return True
        try:
            return bool(await self._table())
        except StoreUnavailable:
            return False

    async def preload(self) -> None:
        """Read the table before the first request needs it."""
        with suppress(HunyuanOcrError):
            await self._table()

    def _used(self, key: ApiKeyRow) -> ApiKeyRow | None:
        now = self._clock.now()
        if not key.is_active(now):
            return None
        self._seen[key.id] = now
        return key

    async def _table(self) -> dict[str, ApiKeyRow]:
        for _ in range(2):  # a load that began before a key was created here does not contain that key
            if not self._stale():
                break
            if self._loading is None and self.ticks() - self._tried > _MAX_AGE_S:
                self._loading = asyncio.create_task(self._load(self._database))
            if self._loading is not None and not self._slow:
                _, late = await asyncio.wait((self._loading,), timeout=self.wait_s)
                self._slow = bool(late)  # other requests do not wait for a slow load
        if self.ticks() - self._at > _MAX_STALE_S:
            raise StoreUnavailable("The API keys cannot be read now.")
        return self._keys

    def _stale(self) -> bool:
        return self._at < self._changed or self.ticks() - self._at > _MAX_AGE_S

    async def _load(self, database: Database) -> None:
        started = self.ticks()
        try:
            rows = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, database)
        except HunyuanOcrError as e:
            log.warning("The API keys cannot be read: %s %s", e.message, e.hint)
        except Exception:
            log.exception("The API keys cannot be read.")
        else:
            self._keys, self._at = {key.id: key for key in rows}, started
        finally:
            self._tried = self.ticks() if started >= self._changed else -_MAX_STALE_S
            self._loading, self._slow = None, False

    def _read(self, database: Database) -> list[ApiKeyRow]:
        if database.sqlite and not (Path(str(database.url.database)).exists() or self.marker_file.exists()):
            return []  # reading must not create a database file
        with database.read_transaction() as conn:
            rows = keys.list_all(conn)
        if rows and not self.marker_file.exists():
            with suppress(OSError):  # the keys are valid even if the folder cannot be written
                self.marker_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self.marker_file.touch(mode=0o600)
        return rows

    def invalidate(self) -> None:
        """Read the table again at the next request: a key was created or revoked in this process."""
        self._changed = self.ticks()
        self._tried = -_MAX_STALE_S

    async def flush_last_used(self) -> None:
        """Write the times of last use, once a minute for each key. Raises StoreUnavailable."""
        due = {
            id: at
            for id, at in self._seen.items()
            if id not in self._written or (at - self._written[id]).total_seconds() >= _TOUCH_INTERVAL_S
        }
        if due:
            await self._database.write(keys.touch, due)
            self._written |= due

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
