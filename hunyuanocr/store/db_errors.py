"""Database driver errors as messages for operators: disk full, read-only, locked, no connection, damaged."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from hunyuanocr.errors import StoreUnavailable

_SQLITE = {  # result code (sqlite.org/rescode.html) → message, hint
    "SQLITE_FULL": ("The disk is full", "Free disk space, or shorten the retention of records and images."),
    "SQLITE_READONLY": ("The database is read-only", "Give this program's user write permission for the file and its folder."),
    "SQLITE_BUSY": ("The database is locked by another program", "Close other programs that use the file, and try again."),
    "SQLITE_LOCKED": ("The database is locked", "Try again."),
    "SQLITE_CANTOPEN": (
        "The database cannot be opened",
        "Check that its folder exists, is writable for this program's user, and has free space.",
    ),
    "SQLITE_IOERR": ("A disk error occurred", "Check the disk: it may be full, failing or unplugged."),
    "SQLITE_CORRUPT": ("The database is damaged", "Restore a backup (see docs/records.md)."),
    "SQLITE_NOTADB": ("The file is not a database", "Correct the setting 'store.url', or restore a backup."),
}
_POSTGRES = {  # SQLSTATE, or its class (postgresql.org/docs/current/errcodes-appendix.html)
    "53100": ("The disk of the database server is full", "Free disk space there."),
    "53300": ("The database server has no free connection", "Increase max_connections there, or stop other programs."),
    "25006": ("The database server is read-only", "If it is a standby, set 'store.url' to the primary server."),
    "55P03": ("The database is locked", "Try again."),
    "40": ("The transaction conflicted with another one", "Try again."),
    "57014": ("The database took too long", "Request less at a time, or check the load of the server."),
    "08": ("The database server cannot be reached", "Check the network and whether the server runs."),
    "57": ("The database server is stopping or starting", "Try again in a moment."),
    "53": ("The database server is short of resources", "Check its memory and disk."),
    "42501": ("The database user lacks a permission", "Allow it to create and write tables in this database."),
}
_UNREACHABLE = (  # libpq has no SQLSTATE before a connection exists
    "The database server cannot be reached, or refuses the connection",
    "Check the network, whether the server runs, and the user, password and database name in 'store.url'.",
)


def map_db_error(error: DBAPIError) -> StoreUnavailable | None:
    """Return the error for the client; None if the driver reports an error in our own statement."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")  # e.g. SQLITE_READONLY_DBMOVED
        known = next((words for code, words in _SQLITE.items() if name.startswith(code)), None)
    else:
        state = getattr(cause, "sqlstate", None)
        if state is None:
            kinds = {kind.__name__ for kind in type(cause).__mro__}  # psycopg's connection timeout is a subclass
            known = _UNREACHABLE if error.connection_invalidated or "OperationalError" in kinds else None
        else:
            known = _POSTGRES.get(state) or _POSTGRES.get(state[:2])
    if known is None:
        return None
    return StoreUnavailable(f"{known[0]}.", hint=known[1], waited=known is _SQLITE["SQLITE_BUSY"])
