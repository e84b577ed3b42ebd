"""The database: SQLAlchemy Core (no ORM), synchronous, in threads of its own; SQLite by default, PostgreSQL by URL.

SQLite: WAL, so that readers never wait for the writer; one writer, whose transactions begin with BEGIN IMMEDIATE, so that none is
refused half-way; `synchronous=FULL`, so that what was committed survives a power cut; `secure_delete`, so that what was deleted
is overwritten. Functions that run in the database take a Connection first, called `session`: a transaction of its own,
committed when they return and rolled back when they raise.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hunyuanocr.errors import ConfigError, MissingDependency, StoreUnavailable
from hunyuanocr.store import watchdog
from hunyuanocr.store.db_errors import map_db_error
from hunyuanocr.store.lanes import Lane
from hunyuanocr.store.watchdog import Watchdog

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

_BUSY_MS = 5_000  # how long a transaction waits for the writer of another process
_PRAGMAS = (
    f"PRAGMA busy_timeout={_BUSY_MS}", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=ON",
)  # fmt: skip
_TRUNCATE_MS, _TRUNCATE_ATTEMPTS = 100, 10
_READERS = 2
_CONNECTIONS = 4  # of PostgreSQL's writers
_READING = "hunyuanocr_reading"


class Database:
    """One database. `url` is SQLAlchemy's: `sqlite:///folder/file.db` or `postgresql://user:password@host/name`.

    Nothing is opened before it is used, and the first use brings the schema up to date: a database that comes back later is taken
    up then. Everything raises StoreUnavailable when the database cannot be reached or written; the
    constructor raises ConfigError for a URL that cannot work and MissingDependency when PostgreSQL's driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = _url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.display_url = self.url.render_as_string(hide_password=True)  # for logs
        self._watchdog: Watchdog | None = None
        self._engine = self._open()
        if not self.sqlite:
            self._watchdog = Watchdog(self._engine, self._ask_for_connection)
        self._writing, self._reading = Lane(), Lane()
        self._migrated = False
        self._migrating = threading.Lock()
        writers = 1 if self.sqlite else _CONNECTIONS
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="store")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")

    def _open(self) -> Engine:
        options: dict[str, Any] = {"hide_parameters": True}  # they are what stood on the pages, and errors go into the log
        options |= {} if self.sqlite else {"pool_pre_ping": True, "connect_args": {"connect_timeout": watchdog.CONNECT_S}}
        try:
            engine = create_engine(self.url, pool_size=8, max_overflow=8, pool_timeout=10, json_serializer=_json, **options)
        except ImportError as e:
            raise MissingDependency(
                "The driver for PostgreSQL is not installed.", hint="Run: .venv/bin/pip install -e '.[cluster]'"
            ) from e
        if self.sqlite:
            event.listen(engine, "connect", _prepare)
            event.listen(engine, "begin", _begin)
        else:
            event.listen(engine, "do_connect", self._connect)
            event.listen(engine, "connect", watchdog.limit)
        return engine

    def _connect(self, dialect: Any, _: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        """A connection of the driver; none is asked for while the server is known to be away."""
        self.check()
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.errors.ConnectionTimeout:
            if self._watchdog is not None:
                self._watchdog.suspect()
            raise

    def _ask_for_connection(self) -> None:
        """Whether the server answers somebody new. Raises TimeoutError where it does not."""
        dialect = self._engine.dialect
        arguments, options = dialect.create_connect_args(self.url)
        try:
            dialect.connect(*arguments, **{**options, "connect_timeout": 2}).close()
        except dialect.loaded_dbapi.errors.ConnectionTimeout as e:
            raise TimeoutError from e

    def check(self) -> None:
        """Raise StoreUnavailable while it is known that the database does not answer."""
        if self._watchdog is not None:
            self._watchdog.check()

    @property
    def trouble(self) -> str | None:
        """Why the database is known not to answer; None where it does, or nobody knows."""
        return None if self._watchdog is None else self._watchdog.away

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction that may write: committed at the end, rolled back when something is raised inside."""
        self._up_to_date()
        with self._translated(), self._engine.begin() as conn:
            yield conn

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """One transaction that only reads; on SQLite it never waits for the writer, nor the writer for it."""
        self._up_to_date()
        with self._translated(), self._engine.connect() as connection:
            conn = connection.execution_options(**({_READING: True} if self.sqlite else {"postgresql_readonly": True}))
            with conn.begin():
                yield conn

    async def write(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(session, …)` in one writing transaction, in the store's own threads (one writer for SQLite).

        A cancelled caller stops waiting; the transaction itself runs to its end.
        """
        return await self._in(self._writers, self._writing, self.transaction, lambda conn: function(conn, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `write`, in a transaction that only reads: a slow search holds up no writer."""
        return await self._in(self._readers, self._reading, self.read_transaction, lambda conn: function(conn, *args, **kwargs))

    async def _in(self, threads: ThreadPoolExecutor, lane: Lane, transaction: Any, work: Callable[[Connection], T]) -> T:
        def whole() -> T:
            self.check()  # again: it may have waited for a thread
            with lane.breaking(), transaction() as conn:
                return work(conn)

        self.check()
        try:
            future = asyncio.get_running_loop().run_in_executor(threads, whole)
        except RuntimeError as e:  # after close()
            raise StoreUnavailable("The database is closed.") from e
        return await future

    def _up_to_date(self) -> None:
        if self._migrated:
            return
        with self._migrating:
            if not self._migrated:
                self.migrate()

    def migrate(self) -> None:
        """Bring the schema up to date, in one transaction; of two processes that start at once, one waits for the other.

        Called by the first use. Raises ConfigError when the database is from a newer version of this program.
        """
        from hunyuanocr.store.migrations import upgrade  # noqa: PLC0415 -- Alembic is needed at the start only

        if self.sqlite:
            self._make_folder()
        with self._translated(), self._engine.begin() as conn, self._unlimited(conn):
            upgrade(conn)
        self._migrated = True

    @contextmanager
    def _unlimited(self, conn: Connection) -> Iterator[None]:
        """Without time-outs of statements: a large table takes long to change, and another process may be at it."""
        if self._watchdog is None:
            yield
            return
        conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
        conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
        with self._watchdog.unlimited():
            yield

    def _make_folder(self) -> None:
        file = Path(str(self.url.database)).absolute()
        folder = file.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is read here is nobody else's business
        except OSError as e:
            raise StoreUnavailable(
                f"The folder {folder} of the database cannot be made: {e.strerror}.",
                hint="Give this program's user the right to write there, or choose another folder with the setting 'data'.",
            ) from e
        with suppress(OSError):  # one that is there keeps its mode; a disk that cannot be written is told by SQLite
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # its log is made as private as it is itself

    def truncate_wal(self) -> None:
        """After deletions: SQLite's log, which still has the deleted pages, is written back and cut. Best effort, for a second or
        two: somebody who reads for longer hinders it, and the retention does it again every hour.
        """
        if not self.sqlite:
            return
        with self._translated(), self._engine.connect() as connection:
            raw = connection.connection.cursor()
            raw.execute(f"PRAGMA busy_timeout={_TRUNCATE_MS}")
            for _ in range(_TRUNCATE_ATTEMPTS):
                busy, _, _ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    break
                time.sleep(_TRUNCATE_MS / 1000)  # another one is at it: that is no wait for SQLite
            raw.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
            raw.close()

    def close(self) -> None:
        """End the threads, after what they have begun, and give the connections back. May be called twice."""
        for threads in (self._writers, self._readers):
            threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()
        if self._watchdog is not None:
            self._watchdog.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's troubles as StoreUnavailable; mistakes in our own statements stay what they are."""
        try:
            yield
        except PoolTimeout as e:
            raise StoreUnavailable("The database has no connection free.") from e
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
        raise ConfigError("The setting 'store.url' is no database URL.", hint="See docs/records.md for its form.") from e
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError(f"Databases of the kind '{backend}' are not supported.", hint="Use sqlite:///… or postgresql://….")
    if url.database in (None, "", ":memory:"):
        raise ConfigError("A SQLite database needs a file.", hint="Write sqlite:///folder/file.db.")
    return url.set(drivername="sqlite+pysqlite")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: `_begin` does
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Connection) -> None:
    reading = bool(connection.get_execution_options().get(_READING))
    connection.exec_driver_sql(f"PRAGMA query_only={int(reading)}")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
