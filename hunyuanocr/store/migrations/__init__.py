"""The schema's history (Alembic), run inside a transaction of ours: `upgrade(session)`.

A new revision: a file in `versions/` with `revision`, `down_revision` (the one before), `upgrade()` and `downgrade()`, in plain
`op.…` calls that never import the tables, which go on changing. New tables join `store.tables.metadata`, from a file of their own
if they like, which `MODULES` names: a test compares migrations and tables.
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

MODULES = (  # where tables are declared
    "hunyuanocr.store.tables", "hunyuanocr.store.deliveries", "hunyuanocr.store.keys",
    "hunyuanocr.store.audit",
)  # fmt: skip
_ALEMBIC = threading.Lock()  # its context is global: two databases of one process must not be migrated at once
_LOCK = 7_240_117  # PostgreSQL's number of our lock: any one, always the same


def config(session: Connection | None = None) -> Config:
    """Alembic's settings: the folder, and the connection that it shall use."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.set_main_option("path_separator", "os")
    made.attributes["session"] = session
    return made


def head() -> str:
    """The newest revision."""
    return str(ScriptDirectory.from_config(config()).get_current_head())


def known(revision: str) -> bool:
    """Whether it is one of this program's."""
    return any(script.revision == revision for script in ScriptDirectory.from_config(config()).walk_revisions())


def upgrade(session: Connection, revision: str = "head") -> None:
    """Bring the schema to `revision`. The caller's transaction holds the lock: SQLite's by BEGIN IMMEDIATE, PostgreSQL's here."""
    if session.dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    try:
        with _ALEMBIC:
            command.upgrade(config(session), revision)
    except CommandError as e:  # a revision that this version does not know
        raise ConfigError(
            f"The database is from a newer version of this program ({e}).", hint="Update the program, or restore a backup."
        ) from e


def downgrade(session: Connection, revision: str) -> None:
    """Back to `revision`; for tests, and for a person who goes back to an older version."""
    command.downgrade(config(session), revision)
