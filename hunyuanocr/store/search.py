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
class RecordQuery:
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


def where_clauses(conn: Connection, query: RecordQuery) -> list[ColumnElement[bool]]:
    """For a WHERE over `records`."""
    found = [records.c.owner == query.owner]
    for name in ("device", "source", "task"):
        if getattr(query, name) is not None:
            found.append(records.c[name] == getattr(query, name))
    if query.since is not None:
        found.append(records.c.created_at >= query.since)
    if query.until is not None:
        found.append(records.c.created_at < query.until)
    if query.text:
        found.append(contains(conn, records.c.text, query.text))
    if query.field or query.value:
        found.append(_has_value(conn, query))
    return found


def _has_value(conn: Connection, query: RecordQuery) -> ColumnElement[bool]:
    asked = [values.c.record_id == records.c.id, values.c.owner == query.owner]
    if query.field:
        asked.append(or_(values.c.name == query.field, values.c.key == query.field))
    if query.value:
        asked.append(or_(contains(conn, values.c.value, query.value), values.c.normalized == query.value))
    return exists().where(*asked)


def contains(conn: Connection, column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """SQLite's LIKE disregards ASCII case by itself; `ilike` there would lower every text first."""
    pattern = "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    if conn.dialect.name == "sqlite":
        return column.like(pattern, escape="\\")
    return column.ilike(pattern, escape="\\")
