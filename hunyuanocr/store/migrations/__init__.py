"""Schema migrations (Alembic), run inside a transaction of the caller: `upgrade(conn)`.

A new revision is a file in `versions/` with `revision`, `down_revision` (the previous one), `upgrade()` and `downgrade()`, in
plain `op.…` calls that never import the tables, which change later. New tables belong to `store.tables.metadata`; a new module
with tables must be listed in `MODULES`. A test compares migrations and tables.
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text

from hunyuanocr.errors import ConfigError

MODULES = (  # modules that declare tables
    "hunyuanocr.store.tables",
    "hunyuanocr.store.deliveries",
    "hunyuanocr.store.keys",
    "hunyuanocr.store.audit",
)
_ALEMBIC = threading.Lock()  # Alembic's context is global: databases of one process must not be migrated concurrently
_LOCK = 7_240_117  # PostgreSQL advisory lock: any number, always the same


def config(conn: Connection | None = None) -> Config:
    """Return Alembic's configuration: the folder, and the connection to use."""
    alembic = Config()
    folder = str(Path(__file__).parent).replace("%", "%%")  # options are interpolated
    alembic.set_main_option("script_location", folder)
    alembic.set_main_option("path_separator", "os")
    alembic.attributes["conn"] = conn
    return alembic


def head() -> str:
    """Return the newest revision."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def known(revision: str) -> bool:
    """Return whether this version of the program knows a revision."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Migrate the schema to `revision`, under a lock: SQLite's by BEGIN IMMEDIATE, PostgreSQL's advisory lock.

    Raises ConfigError if the database was written by a newer version.
    """
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    try:
        with _ALEMBIC:
            command.upgrade(config(conn), revision)
    except CommandError as e:  # an unknown revision
        raise ConfigError(
            f"The database was written by a newer version ({e}).", hint="Update the program, or restore a backup."
        ) from e


def downgrade(conn: Connection, revision: str) -> None:
    """Migrate the schema back to `revision`; for tests, and before going back to an older version."""
    command.downgrade(config(conn), revision)
