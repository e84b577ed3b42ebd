"""Run by Alembic before each migration: use the connection from `hunyuanocr.store.migrations`."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

conn: Connection | None = context.config.attributes.get("conn")
if conn is None:
    raise RuntimeError("Run migrations through hunyuanocr.store.migrations.upgrade(conn).")
context.configure(connection=conn, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
