"""API keys: made, and looked up in a table in memory that is never older than a second."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from api.auth.identity import Identity, Scope
from hunyuanocr.clock import Clock, utc_now
from hunyuanocr.errors import HunyuanOcrError, InvalidValue, StoreUnavailable
from hunyuanocr.store import keys
from hunyuanocr.store.database import Database
from hunyuanocr.store.keys import NAME, ApiKeyRow

log = logging.getLogger(__name__)

PREFIX = "hyo_"
_FRESH_S = 0.8  # how old the table may be: a key that another process revokes is refused within a second
_TRUST_S = 300.0  # how long it is believed while the database does not answer
_WAIT_S = 2.0
_SEEN_S = 60.0  # the latest use of a key is written no more often
_NOBODY = hashlib.sha256(b"").hexdigest()


def create_api_key(
    name: str, owner: str, scopes: Iterable[Scope], *, expires_at: datetime | None = None
) -> tuple[str, ApiKeyRow]:
    """A key of 256 random bits, which is told once, and what is kept of it. Raises InvalidValue."""
    for what, given in (("name", name), ("owner", owner)):
        if not NAME.fullmatch(given):
            raise InvalidValue(
                f"This {what} cannot be used.", hint="Use 1 to 100 letters, digits and . : @ / + - _, a letter or digit first."
            )
    wanted = tuple(sorted(set(scopes)))
    if not wanted:
        raise InvalidValue("The key has no scope.", hint=f"Give one or more of: {', '.join(Scope)}.")
    now = utc_now()
    if expires_at is not None and expires_at <= now:
        raise InvalidValue("The key would have expired already.", hint="Choose a time to come.")
    id = secrets.token_hex(6)
    text = f"{PREFIX}{id}_{secrets.token_urlsafe(32)}"
    return text, ApiKeyRow(id, owner, name, _hash(text), wanted, now, expires_at)


def _hash(text: str) -> str:
    """A plain hash will do: nobody tries 2^256 keys."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def identity_of_key(key: ApiKeyRow) -> Identity:
    """Whoever has this key."""
    until = None if key.expires_at is None else key.expires_at.timestamp()
    scopes = frozenset(Scope(scope) for scope in key.scopes if scope in list(Scope))
    return Identity(key.owner, key.name, scopes, "key", key=key.id, until=until)


class ApiKeyCache:
    """The keys of a database. `marker_file` is a file that says that there were keys, for the day on which the database is away.

    The table has a thread of its own: whoever searches the records for long keeps nobody waiting at the door.
    """

    def __init__(self, database: Database, marker_file: Path, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or Clock()
        self._marker_file = marker_file
        self._keys: dict[str, ApiKeyRow] = {}
        self._at = self._tried = self._changed = -_TRUST_S
        self._loading: asyncio.Task[None] | None = None
        self._slow = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._seen: dict[str, datetime] = {}
        self._written: dict[str, datetime] = {}

    async def lookup(self, text: str) -> ApiKeyRow | None:
        """The key, if it is one that may be used now. Raises StoreUnavailable."""
        id = text.removeprefix(PREFIX).partition("_")[0]
        key = (await self._table()).get(id)
        if not hmac.compare_digest(_hash(text), _NOBODY if key is None else key.hash) or key is None:
            return None
        return self._used(key)

    async def by_id(self, id: str) -> ApiKeyRow | None:
        """The key of a session, if it may still be used. Raises StoreUnavailable."""
        key = (await self._table()).get(id)
        return None if key is None else self._used(key)

    async def has_keys(self) -> bool:
        """Whether a key was ever made here. The end of the last one, or of the database, does not open the door again."""
        if self._marker_file.exists():
            return True
        try:
            return bool(await self._table())
        except StoreUnavailable:
            return False

    async def preload(self) -> None:
        """The first look, so that the first request does not wait for it."""
        with suppress(HunyuanOcrError):
            await self._table()

    def _used(self, key: ApiKeyRow) -> ApiKeyRow | None:
        now = self._clock.now()
        if not key.is_active(now):
            return None
        self._seen[key.id] = now
        return key

    async def _table(self) -> dict[str, ApiKeyRow]:
        for _ in range(2):  # what was begun before a key was made here does not know it
            if not self._stale():
                break
            if self._loading is None and time.monotonic() - self._tried > _FRESH_S:
                self._loading = asyncio.create_task(self._load(self._database))
            if self._loading is not None and not self._slow:
                _, late = await asyncio.wait((self._loading,), timeout=_WAIT_S)
                self._slow = bool(late)  # nobody else waits for it
        if time.monotonic() - self._at > _TRUST_S:
            raise StoreUnavailable("The keys cannot be looked up now.")
        return self._keys

    def _stale(self) -> bool:
        return self._at < self._changed or time.monotonic() - self._at > _FRESH_S

    async def _load(self, database: Database) -> None:
        begun = time.monotonic()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, database)
        except HunyuanOcrError as e:
            log.warning("The keys cannot be looked up: %s %s", e.message, e.hint)
        except Exception:
            log.exception("The keys cannot be looked up.")
        else:
            self._keys, self._at = {key.id: key for key in found}, begun
        finally:
            self._tried = time.monotonic() if begun >= self._changed else -_TRUST_S
            self._loading, self._slow = None, False

    def _read(self, database: Database) -> list[ApiKeyRow]:
        if database.sqlite and not (Path(str(database.url.database)).exists() or self._marker_file.exists()):
            return []  # where nothing is kept, looking does not make a database
        with database.read_transaction() as conn:
            found = keys.list_all(conn)
        if found and not self._marker_file.exists():
            with suppress(OSError):  # a folder that cannot be written: the keys count all the same
                self._marker_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._marker_file.touch(mode=0o600)
        return found

    def invalidate(self) -> None:
        """Look again at the next request: a key was made or revoked here."""
        self._changed = time.monotonic()
        self._tried = -_TRUST_S

    async def flush_last_used(self) -> None:
        """Write when keys were used last, once a minute. Raises StoreUnavailable."""
        due = {
            id: at for id, at in self._seen.items()
            if id not in self._written or (at - self._written[id]).total_seconds() >= _SEEN_S
        }  # fmt: skip
        if due:
            await self._database.write(keys.touch, due)
            self._written |= due

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
