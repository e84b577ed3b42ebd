"""Convert a record query to SQL conditions.

Text is matched by substring (LIKE; ILIKE on PostgreSQL), which finds every Chinese word, even of two characters; a trigram index
cannot do this. `bench/records.py` measures the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, or_

from hunyuanocr.store.tables import records, values


@dataclass(frozen=True)
class RecordQuery:
    """All conditions must match. `since` is inclusive, `until` exclusive; text and value match substrings, ignoring ASCII case.

    `field` alone matches records with a value of it: a key of the response, or `items.amount` for a cell of rows.
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
    """Return the conditions for a WHERE over `records`."""
    clauses = [records.c.owner == query.owner]
    for name in ("device", "source", "task"):
        if getattr(query, name) is not None:
            clauses.append(records.c[name] == getattr(query, name))
    if query.since is not None:
        clauses.append(records.c.created_at >= query.since)
    if query.until is not None:
        clauses.append(records.c.created_at < query.until)
    if query.text:
        clauses.append(contains(conn, records.c.text, query.text))
    if query.field or query.value:
        clauses.append(_has_value(conn, query))
    return clauses


def _has_value(conn: Connection, query: RecordQuery) -> ColumnElement[bool]:
    clauses = [values.c.record_id == records.c.id, values.c.owner == query.owner]
    if query.field:
        clauses.append(or_(values.c.name == query.field, values.c.key == query.field))
    if query.value:
        clauses.append(or_(contains(conn, values.c.value, query.value), values.c.normalized == query.value))
    return exists().where(*clauses)


def contains(conn: Connection, column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    """Return a substring condition. SQLite's LIKE ignores ASCII case itself; its `ilike` would convert every text first."""
    pattern = "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    if conn.dialect.name == "sqlite":
        return column.like(pattern, escape="\\")
    return column.ilike(pattern, escape="\\")
