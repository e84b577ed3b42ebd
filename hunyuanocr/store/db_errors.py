"""What a driver's error means to the person who runs the machine: full disk, read-only, locked, no connection, damaged."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from hunyuanocr.errors import StoreUnavailable

_SQLITE = {  # result code (sqlite.org/rescode.html) → what is wrong, what to do
    "SQLITE_FULL": ("The disk is full", "Make room on the disk, or shorten the retention of records and pictures."),
    "SQLITE_READONLY": ("The database may not be written", "Let this program's user write the file and its folder."),
    "SQLITE_BUSY": ("The database is locked by another program", "Close what else has the file open, and try again."),
    "SQLITE_LOCKED": ("The database is locked", "Try again."),
    "SQLITE_CANTOPEN": (
        "The database cannot be opened",
        "Look whether its folder exists, may be written by this program's user, and has room.",
    ),
    "SQLITE_IOERR": ("The disk failed", "Look at the disk: it may be full, failing or unplugged."),
    "SQLITE_CORRUPT": ("The database is damaged", "Restore a backup (docs/records.md says how)."),
    "SQLITE_NOTADB": ("The file is no database", "Correct the setting 'store.url', or restore a backup."),
}
_POSTGRES = {  # SQLSTATE, or its class (postgresql.org/docs/current/errcodes-appendix.html)
    "53100": ("The disk of the database server is full", "Make room there."),
    "53300": ("The database server has no connection free", "Raise max_connections there, or stop other programs."),
    "25006": ("The database server only reads", "It may be a standby: give the address of the primary in 'store.url'."),
    "55P03": ("The database is locked", "Try again."),
    "40": ("Another transaction was in the way", "Try again."),
    "57014": ("The database took too long", "Ask for less at a time, or check what else keeps the server busy."),
    "08": ("The database server cannot be reached", "Look at the network and whether the server runs."),
    "57": ("The database server is stopping or starting", "Try again in a moment."),
    "53": ("The database server is short of resources", "Look at its memory and disk."),
    "42501": ("The database user lacks a right", "Let it create and write tables in this database."),
}
_AWAY = (  # libpq gives no state before there is a connection
    "The database server cannot be reached, or refuses us",
    "Look at the network, whether the server runs, and at user, password and name in 'store.url'.",
)


def map_db_error(error: DBAPIError) -> StoreUnavailable | None:
    """The error a client gets; None where the driver complains of something that is our own mistake."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")  # e.g. SQLITE_READONLY_DBMOVED
        known = next((words for code, words in _SQLITE.items() if name.startswith(code)), None)
    else:
        state = getattr(cause, "sqlstate", None)
        if state is None:
            kinds = {kind.__name__ for kind in type(cause).__mro__}  # psycopg's: a time-out of connecting has a class of its own
            known = _AWAY if error.connection_invalidated or "OperationalError" in kinds else None
        else:
            known = _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    if known is None:
        return None
    return StoreUnavailable(f"{known[0]}.", hint=known[1], waited=known is _SQLITE["SQLITE_BUSY"])
