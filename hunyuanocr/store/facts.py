"""Small facts about the appliance that outlive the process; each is a JSON value under a name."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, select

from hunyuanocr.store.tables import state

_OWNER = "appliance"  # nobody's in particular


def get(session: Connection, name: str) -> Any:
    """The fact, or None."""
    return session.scalar(select(state.c.value).where(state.c.owner == _OWNER, state.c.name == name))


def put(session: Connection, name: str, value: Any) -> None:
    """Remember a fact instead of what was known before."""
    session.execute(delete(state).where(state.c.owner == _OWNER, state.c.name == name))
    session.execute(state.insert().values(owner=_OWNER, name=name, value=value))
