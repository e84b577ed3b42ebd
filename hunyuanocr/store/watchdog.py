"""Detect that the PostgreSQL server does not respond, and abort waits for it.

A server that is frozen or disconnected neither responds nor closes its connections; its kernel may even acknowledge packets.
Neither TCP timeouts nor the server's own timeouts end such a wait. Therefore a thread checks the connections: if a statement
takes longer than `STALL_S`, it opens a new connection. If that fails, the server is unavailable: the waiting connections are
shut down, which wakes their threads with an error, and until a connection succeeds all database access fails immediately
(circuit breaker). A server that is only slow accepts the new connection and keeps its time limits: `STATEMENT_S`, which it
enforces itself, and slightly more for a single connection that is dead.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, event

from hunyuanocr.errors import StoreUnavailable

log = logging.getLogger(__name__)

CONNECT_S = 3  # libpq's minimum is 2
STATEMENT_S = 30  # the server's statement timeout
LOCK_S = 5  # the server's lock timeout
STALL_S = 1.5  # a shorter statement is not suspicious
_POLL_INTERVAL_S = 0.5
_RETRY_S = 1.0  # between two connection attempts to an unavailable server
_DEAD_S = STATEMENT_S + 10.0  # the server would have ended the statement by then
_ACTIVE = 1  # libpq's PQTRANS_ACTIVE: a command is in progress


class Watchdog:
    """Watch the connections of a PostgreSQL engine. `away`: the reason why the database is unavailable, else None.

    `connect` opens and closes a connection to the server, and raises TimeoutError if the server does not respond.
    """

    def __init__(self, engine: Engine, connect: Callable[[], None]) -> None:
        self.away: str | None = None
        self._connect = connect
        self._statements: dict[Any, int] = {}  # driver connections, with the number of statements of each
        self._stalled: dict[Any, tuple[int, float]] = {}  # waiting connections: number of the statement, start of the wait
        self._unlimited = 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        event.listen(engine, "connect", self._opened)
        event.listen(engine, "close", self._closed)
        event.listen(engine, "before_cursor_execute", self._executing)

    def check(self) -> None:
        """Raise StoreUnavailable while the server is away."""
        if self.away is not None:
            raise StoreUnavailable(self.away, hint="Check the network and whether the database server runs.", retry_after=5.0)

    def suspect(self) -> None:
        """Report that a connection timed out: the server counts as unavailable until a connection succeeds."""
        self._go_away()
        self._start()

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Allow statements of any duration, as long as the server accepts connections; for migrations of large tables."""
        self._unlimited += 1
        try:
            yield
        finally:
            self._unlimited -= 1

    def close(self) -> None:
        """Stop the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _opened(self, connection: Any, _: Any) -> None:
        self._statements[connection] = 0
        self._start()

    def _closed(self, connection: Any, _: Any) -> None:
        self._statements.pop(connection, None)

    def _executing(self, conn: Connection, *_: Any) -> None:
        driver = conn.connection.dbapi_connection
        if driver in self._statements:
            self._statements[driver] += 1

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._run, name="store-watchdog", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_POLL_INTERVAL_S if self.away is None else _RETRY_S):
            try:
                self._check_connections()
            except Exception:  # the thread must keep running: without it a frozen server blocks everything
                log.exception("Unexpected error while checking the database connections.")

    def _check_connections(self) -> None:
        waits = self._waits()
        longest = max(waits.values(), default=0.0)
        if self.away is None and longest < STALL_S:
            return
        if not self._answers():
            self._go_away()
            for connection in self._waits():
                _shut_down(connection)
            return
        if self.away is not None:
            self.away = None
            log.warning("The database server responds again.")
        for connection, seconds in waits.items():
            if seconds > _DEAD_S and not self._unlimited:
                _shut_down(connection)

    def _waits(self) -> dict[Any, float]:
        """Return the connections that wait for the server, with the seconds of each wait."""
        now = time.monotonic()
        waiting = {c: n for c, n in list(self._statements.items()) if not c.closed and c.pgconn.transaction_status == _ACTIVE}
        before = self._stalled
        self._stalled = {c: before[c] if c in before and before[c][0] == n else (n, now) for c, n in waiting.items()}
        return {c: now - since for c, (_, since) in self._stalled.items()}

    def _answers(self) -> bool:
        """Return whether the server responds to a new connection, even if it refuses it."""
        try:
            self._connect()
        except TimeoutError:
            return False
        except Exception as e:  # noqa: BLE001 -- any other error is a response
            log.debug("The database server refused a test connection: %s", type(e).__name__)
        return True

    def _go_away(self) -> None:
        if self.away is None:
            self.away = "The database server does not answer."
            log.error("The database server does not answer; database access fails until it does.")


def _shut_down(connection: Any) -> None:
    """Wake the thread that waits on this connection, as if the server had closed it. The descriptor stays open."""
    with suppress(Exception):  # it was closed in the meantime
        copy = socket.socket(fileno=os.dup(connection.pgconn.socket))
        try:
            copy.shutdown(socket.SHUT_RDWR)
        finally:
            copy.close()


def limit(connection: Any, _: Any) -> None:
    """Set PostgreSQL's timeouts for slow statements and locks."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {1000 * STATEMENT_S}")
        cursor.execute(f"SET lock_timeout = {1000 * LOCK_S}")
    connection.commit()
