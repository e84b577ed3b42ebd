"""State of the appliance that survives restarts: JSON values by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from hunyuanocr.store.tables import state

_OWNER = "appliance"  # not a client


def get_state(conn: Connection, name: str) -> Any:
    """Return a value, or None."""
    return conn.scalar(select(state.c.value).where(state.c.owner == _OWNER, state.c.name == name))


def set_state(conn: Connection, name: str, value: Any) -> None:
    """Replace a value. Of concurrent writers, also in other processes, the last one wins."""
    row = (state.c.owner == _OWNER, state.c.name == name)
    if conn.execute(update(state).where(*row).values(value=value)).rowcount:
        return
    with suppress(IntegrityError), conn.begin_nested():  # a concurrent writer was first: its value is as recent
        conn.execute(state.insert().values(owner=_OWNER, name=name, value=value))
