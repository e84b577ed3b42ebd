"""Notices that the database server does not answer, and ends the waits for it.

A server that is frozen or has lost its network neither answers nor closes its connections; its kernel may even acknowledge what
it is sent. Neither TCP's time-outs nor the server's own end such a wait. So a thread checks the connections: where a statement
has been waited for longer than `STALL_S`, it asks for a new connection. Where none comes, the server is away: the waiting
connections are shut down, which wakes their threads with an error, and until one comes again whatever needs the database is
refused at once (a circuit breaker). A server that is only slow gets a new connection through and keeps its time: `STATEMENT_S`,
which it watches itself, and somewhat more for a connection that has died alone.
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

CONNECT_S = 3  # the shortest that libpq takes is 2
STATEMENT_S = 30  # the server's own time-out of a statement
LOCK_S = 5  # and of the wait for a lock
STALL_S = 1.5  # a statement without an answer is no reason for doubt before that
_LOOK_S = 0.5
_AGAIN_S = 1.0  # between two questions to a server that is away
_DEAD_S = STATEMENT_S + 10.0  # the server would have ended the statement by then
_ACTIVE = 1  # libpq's PQTRANS_ACTIVE: a command is in progress


class Watchdog:
    """Over the connections of an engine of PostgreSQL. `away` says why nothing can be asked now; None while all is well.

    `connect` opens and closes a connection to the server, and raises TimeoutError where none comes.
    """

    def __init__(self, engine: Engine, connect: Callable[[], None]) -> None:
        self.away: str | None = None
        self._connect = connect
        self._statements: dict[Any, int] = {}  # connections of the driver, and how many statements each was given
        self._stalled: dict[Any, tuple[int, float]] = {}  # those that wait: at which statement, and since when
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
        """A connection could not be opened in time: the server is away until one can."""
        self._go_away()
        self._start()

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """A statement inside may take any time, as long as the server accepts connections: migrations of large tables."""
        self._unlimited += 1
        try:
            yield
        finally:
            self._unlimited -= 1

    def close(self) -> None:
        """End the thread."""
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
        while not self._ended.wait(_LOOK_S if self.away is None else _AGAIN_S):
            try:
                self._look()
            except Exception:  # it must not end: without it a frozen server stops everything
                log.exception("Something broke inside while the connections to the database were watched.")

    def _look(self) -> None:
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
            log.warning("The database server answers again.")
        for connection, seconds in waits.items():
            if seconds > _DEAD_S and not self._unlimited:
                _shut_down(connection)

    def _waits(self) -> dict[Any, float]:
        """Connections that wait for the server, and for how many seconds."""
        now = time.monotonic()
        waiting = {c: n for c, n in list(self._statements.items()) if not c.closed and c.pgconn.transaction_status == _ACTIVE}
        before = self._stalled
        self._stalled = {c: before[c] if c in before and before[c][0] == n else (n, now) for c, n in waiting.items()}
        return {c: now - since for c, (_, since) in self._stalled.items()}

    def _answers(self) -> bool:
        """Whether the server says anything to a newcomer, be it that it is full."""
        try:
            self._connect()
        except TimeoutError:
            return False
        except Exception as e:  # noqa: BLE001 -- whatever the driver raises, it is no silence
            log.debug("The database server was asked for a connection: %s", type(e).__name__)
        return True

    def _go_away(self) -> None:
        if self.away is None:
            self.away = "The database server does not answer."
            log.error("The database server does not answer; what needs it is refused until it does.")


def _shut_down(connection: Any) -> None:
    """End what a thread waits for on this connection: it hears that the server has closed it. The connection stays its own."""
    with suppress(Exception):  # it was closed meanwhile
        copy = socket.socket(fileno=os.dup(connection.pgconn.socket))
        try:
            copy.shutdown(socket.SHUT_RDWR)
        finally:
            copy.close()


def limit(connection: Any, _: Any) -> None:
    """PostgreSQL's own time-outs, for statements that are slow and locks that are held."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {1000 * STATEMENT_S}")
        cursor.execute(f"SET lock_timeout = {1000 * LOCK_S}")
    connection.commit()
