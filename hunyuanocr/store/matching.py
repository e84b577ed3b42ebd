"""What is searched for → SQL conditions.

Texts are found by substring (LIKE; ILIKE on PostgreSQL): every Chinese word is found, of two characters too, which an index of
trigrams cannot do. `bench/records.py` shows what that costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, or_

from hunyuanocr.store.tables import records, values


@dataclass(frozen=True)
class Search:
    """All that is given must hold. `since` is included, `until` is not; text and value match parts, without regard to ASCII case.

    `field` alone finds records that have a value of it: a key of the answer, or `items.amount` for a cell of rows.
    """

    owner: str
    text: str | None = None
    field: str | None = None
    value: str | None = None  # as printed or as normalised
    since: datetime | None = None
    until: datetime | None = None
    device: str | None = None
    source: str | None = None
    task: str | None = None


def conditions(session: Connection, wanted: Search) -> list[ColumnElement[bool]]:
    """For a WHERE over `records`."""
    found = [records.c.owner == wanted.owner]
    for name in ("device", "source", "task"):
        if getattr(wanted, name) is not None:
            found.append(records.c[name] == getattr(wanted, name))
    if wanted.since is not None:
        found.append(records.c.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(records.c.created_at < wanted.until)
    if wanted.text:
        found.append(contains(session, records.c.text, wanted.text))
    if wanted.field or wanted.value:
        found.append(_has_value(session, wanted))
    return found


def _has_value(session: Connection, wanted: Search) -> ColumnElement[bool]:
    asked = [values.c.record_id == records.c.id, values.c.owner == wanted.owner]
    if wanted.field:
        asked.append(or_(values.c.name == wanted.field, values.c.key == wanted.field))
    if wanted.value:
        asked.append(or_(contains(session, values.c.value, wanted.value), values.c.normalized == wanted.value))
    return exists().where(*asked)


def contains(session: Connection, column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """SQLite's LIKE disregards ASCII case by itself; `ilike` there would lower every text first."""
    pattern = "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    if session.dialect.name == "sqlite":
        return column.like(pattern, escape="\\")
    return column.ilike(pattern, escape="\\")
