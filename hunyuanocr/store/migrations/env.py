"""Read by Alembic before each run: takes the connection that `hunyuanocr.store.migrations` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

session: Connection | None = context.config.attributes.get("session")
if session is None:
    raise RuntimeError("Run migrations through hunyuanocr.store.migrations.upgrade(session).")
context.configure(connection=session, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
