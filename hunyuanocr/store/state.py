"""Small facts about the appliance that outlive the process; each is a JSON value under a name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import IntegrityError

from hunyuanocr.store.tables import state

_OWNER = "appliance"  # nobody's in particular


def get_state(conn: Connection, name: str) -> Any:
    """The fact, or None."""
    return conn.scalar(select(state.c.value).where(state.c.owner == _OWNER, state.c.name == name))


def set_state(conn: Connection, name: str, value: Any) -> None:
    """Remember a fact instead of what was known before."""
    conn.execute(delete(state).where(state.c.owner == _OWNER, state.c.name == name))
    conn.execute(state.insert().values(owner=_OWNER, name=name, value=value))


def replace(conn: Connection, name: str, value: Any) -> None:
    """As `set_state`, where several may do it at once: the last one's stays."""
    known = (state.c.owner == _OWNER, state.c.name == name)
    if conn.execute(update(state).where(*known).values(value=value)).rowcount:
        return
    with suppress(IntegrityError), conn.begin_nested():  # another one was first: its value is as new
        conn.execute(state.insert().values(owner=_OWNER, name=name, value=value))
