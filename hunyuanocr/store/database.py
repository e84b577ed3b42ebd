"""The database: SQLAlchemy Core (no ORM), synchronous, in its own threads; SQLite by default, PostgreSQL by URL.

SQLite: WAL, so that readers never wait for the writer; one writer, whose transactions start with BEGIN IMMEDIATE, so that none
fails half-way; `synchronous=FULL`, so that committed data survives a power failure; `secure_delete`, so that deleted data is
overwritten. Functions that run in the database take a Connection `conn` first: one transaction, committed when they return and
rolled back when they raise.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hunyuanocr.errors import ConfigError, MissingDependency, StoreUnavailable
from hunyuanocr.store import watchdog
from hunyuanocr.store.database_file import DatabaseFile
from hunyuanocr.store.db_errors import map_db_error
from hunyuanocr.store.lanes import Lane
from hunyuanocr.store.watchdog import Watchdog

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
)
_TRUNCATE_MS = 100
_READERS = 2
_CONNECTIONS = 4  # for writers on PostgreSQL
_READ_ONLY = "hunyuanocr_reading"


class Database:
    """One database. `url` is a SQLAlchemy URL: `sqlite:///folder/file.db` or `postgresql://user:password@host/name`.

    It is opened and migrated on first use, so the server can start before the database. Methods raise StoreUnavailable if the
    database cannot be reached or written; the constructor raises ConfigError for an invalid URL and MissingDependency if the
    PostgreSQL driver is not installed. `busy_ms`: how long a transaction waits for a writer in another process (SQLite).
    """

    truncate_attempts = 10  # of `truncate_wal`

    def __init__(self, url: str, *, busy_ms: int = 5_000) -> None:
        self.url = _url(url)
        self._busy_ms = busy_ms
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.display_url = self.url.render_as_string(hide_password=True)  # for logs
        self._file = DatabaseFile(str(self.url.database)) if self.sqlite else None
        self._watchdog: Watchdog | None = None
        self.engine = self._open()
        if not self.sqlite:
            self._watchdog = Watchdog(self.engine, self._try_connection)
        self._writing, self._reading = Lane(), Lane()
        self.migrated = False
        self._migrating = threading.Lock()
        writers = 1 if self.sqlite else _CONNECTIONS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="store")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")

    def _open(self) -> Engine:
        options: dict[str, Any] = {"hide_parameters": True}  # parameters contain text of documents, and errors are logged
        options |= {} if self.sqlite else {"pool_pre_ping": True, "connect_args": {"connect_timeout": watchdog.CONNECT_S}}
        try:
            engine = create_engine(self.url, pool_size=8, max_overflow=8, pool_timeout=10, json_serializer=_json, **options)
        except ImportError as e:
            raise MissingDependency(
                "The PostgreSQL driver is not installed.", hint="Run: .venv/bin/pip install -e '.[cluster]'"
            ) from e
        if self.sqlite:
            event.listen(engine, "connect", self._configure)
            event.listen(engine, "begin", _begin)
        else:
            event.listen(engine, "do_connect", self._connect)
            event.listen(engine, "connect", watchdog.limit)
        return engine

    def _configure(self, connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver starts no transactions; `_begin` does
        cursor = connection.cursor()
        for pragma in (f"PRAGMA busy_timeout={self._busy_ms}", *_PRAGMAS):
            cursor.execute(pragma)
        cursor.close()

    def _connect(self, dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Open a driver connection; fail immediately while the server is known to be unavailable."""
        self.check()
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.errors.ConnectionTimeout:
            if self._watchdog is not None:
                self._watchdog.suspect()
            raise

    def _try_connection(self) -> None:
        """Open and close a new connection. Raises TimeoutError if the server does not respond."""
        dialect = self.engine.dialect
        arguments, options = dialect.create_connect_args(self.url)
        try:
            dialect.connect(*arguments, **{**options, "connect_timeout": 2}).close()
        except dialect.loaded_dbapi.errors.ConnectionTimeout as e:
            raise TimeoutError from e

    def check(self) -> None:
        """Raise StoreUnavailable while the server is known not to respond, or if the file of SQLite is gone."""
        if self._watchdog is not None:
            self._watchdog.check()
        if self._file is not None:
            self._file.check()

    def check_space(self) -> None:
        """Raise StoreUnavailable if the disk of a SQLite file is full; a PostgreSQL server reports it at the next write."""
        if self._file is not None:
            self._file.check_space()

    @property
    def trouble(self) -> str | None:
        """The reason why the database is known not to be usable, else None."""
        try:
            self.check()
        except StoreUnavailable as e:
            return f"{e.message} {e.hint}"
        return None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a read-write transaction: committed at the end, rolled back on an exception."""
        self._migrate_once()
        self.check()
        with self._map_errors(), self.engine.begin() as conn:
            yield conn

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """Open a read-only transaction; on SQLite it never waits for the writer, nor the writer for it."""
        self._migrate_once()
        self.check()
        with self._map_errors(), self.engine.connect() as connection:
            conn = connection.execution_options(**({_READ_ONLY: True} if self.sqlite else {"postgresql_readonly": True}))
            with conn.begin():
                yield conn

    async def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(conn, …)` in one read-write transaction, in the store's threads (one writer for SQLite).

        A cancelled caller stops waiting; the transaction itself is completed.
        """
        return await self._in(self._writers, self._writing, self.transaction, lambda conn: function(conn, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `write`, in a read-only transaction: a slow search does not block writers."""
        return await self._in(self._readers, self._reading, self.read_transaction, lambda conn: function(conn, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, lane: Lane, transaction: Any, work: Callable[[Connection], T]) -> T:
        def run() -> T:
            self.check()  # again, because it may have waited for a thread
            with lane.breaking(), transaction() as conn:
                return work(conn)

        self.check()
        try:
            future = asyncio.get_running_loop().run_in_executor(threads, run)
        except RuntimeError as e:  # after close()
            raise StoreUnavailable("The database is closed.") from e
        return await future

    def _migrate_once(self) -> None:
        if self.migrated:
            return
        with self._migrating:
            if not self.migrated:
                self.migrate()

    def migrate(self) -> None:
        """Migrate the schema in one transaction; if two processes start at the same time, one waits for the other.

        Called on first use. Raises ConfigError if the database was written by a newer version of this program.
        """
        from hunyuanocr.store.migrations import upgrade  # noqa: PLC0415 -- Alembic is only needed at the start

        if self._file is not None:
            self._file.create()
        with self._map_errors(), self.engine.begin() as conn, self._unlimited(conn):
            upgrade(conn)
        if self._file is not None:
            self._file.remember()
        self.migrated = True

    @contextmanager
    def _unlimited(self, conn: Connection) -> Iterator[None]:
        """Disable statement timeouts: changing a large table takes long, and another process may be migrating."""
        if self._watchdog is None:
            yield
            return
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
        with self._watchdog.unlimited():
            yield

    def truncate_wal(self) -> None:
        """Write back and truncate SQLite's log, which still contains deleted pages.

        Best effort, for a second or two: a long read prevents it, and the retention repeats it every hour.
        """
        if not self.sqlite:
            return
        self.check()
        with self._map_errors(), self.engine.connect() as connection:
            raw = connection.connection.cursor()
            raw.execute(f"PRAGMA busy_timeout={_TRUNCATE_MS}")
            for _ in range(self.truncate_attempts):
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    break
                time.sleep(_TRUNCATE_MS / 1000)  # another checkpoint is running; the busy timeout does not cover this
            raw.execute(f"PRAGMA busy_timeout={self._busy_ms}")
            raw.close()

    def close(self) -> None:
        """Finish running transactions, stop the threads and close the connections. Can be called twice."""
        for threads in (self._writers, self._readers):
            threads.shutdown(wait=True, cancel_futures=True)
        self.engine.dispose()
        if self._watchdog is not None:
            self._watchdog.close()

    @contextmanager
    def _map_errors(self) -> Iterator[None]:
        """Raise the driver's errors as StoreUnavailable; errors in our own statements are passed on."""
        try:
            yield
        except PoolTimeout as e:
            raise StoreUnavailable("No database connection is free.") from e
        except DBAPIError as e:
            known = map_db_error(e)
            if known is None:
                raise
            raise known from e


def _url(text: str) -> URL:
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError) as e:
        raise ConfigError("The setting 'store.url' is not a database URL.", hint="See docs/records.md for its format.") from e
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError(f"Database type '{backend}' is not supported.", hint="Use sqlite:///… or postgresql://….")
    if url.database in (None, "", ":memory:"):
        raise ConfigError("A SQLite database needs a file.", hint="Use sqlite:///folder/file.db.")
    return url.set(drivername="sqlite+pysqlite")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _begin(connection: Connection) -> None:
    read_only = bool(connection.get_execution_options().get(_READ_ONLY))
    connection.exec_driver_sql(f"PRAGMA query_only={int(read_only)}")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
