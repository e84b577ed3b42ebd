"""Records: one per result. Each function runs inside a transaction (`Database.write`, `Database.read`).

Owners are isolated: every function that clients use takes the owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from hunyuanocr.store.search import RecordQuery, where_clauses
from hunyuanocr.store.tables import outbox, records, results, values

Packed = dict[str, Any]  # a Result as plain JSON values (store.result_codec)
_IMAGE_LOCK = 7_240_118  # PostgreSQL advisory lock of the images


@dataclass(frozen=True)
class FieldValue:
    """One value of a field, for searching: `key` as in the response, `name` with the path into rows (`items.amount`)."""

    key: str
    name: str
    value: str
    normalized: str | None = None


@dataclass(frozen=True)
class Record:
    """Stored data of one result. `confidence`: mean of the lines, `confidence_min`: their minimum; None if unknown."""

    id: str
    owner: str
    created_at: datetime
    source: str
    task: str
    instruction: str
    backend: str
    model: str
    pages: int
    text: str
    fields: Packed
    warnings: list[Packed]
    device: str | None = None
    confidence: float | None = None
    confidence_min: float | None = None
    image: str | None = None  # SHA-256 of the stored image


@dataclass(frozen=True)
class Entry:
    """A record with its data in other tables."""

    record: Record
    result: Packed
    values: tuple[FieldValue, ...] = field(default=())


COLUMNS = [records.c[name] for name in Record.__dataclass_fields__]


def insert(conn: Connection, entry: Entry, *, send: bool = False) -> bool:
    """Write a record once: return False, without a change, if its id exists.

    With `send`, it is added to the sync's outbox in the same transaction.
    """
    r = entry.record
    row = {name: getattr(r, name) for name in Record.__dataclass_fields__}
    if conn.scalar(_once(conn).values(row).returning(records.c.id)) is None:
        return False
    conn.execute(results.insert().values(record_id=r.id, owner=r.owner, result=entry.result))
    if entry.values:
        conn.execute(values.insert(), [
            {"record_id": r.id, "position": n, "owner": r.owner, "key": v.key, "name": v.name, "value": v.value,
             "normalized": v.normalized}
            for n, v in enumerate(entry.values)
        ])  # fmt: skip
    if send:
        conn.execute(outbox.insert().values(record_id=r.id, owner=r.owner, queued_at=r.created_at))
    return True


def _once(conn: Connection) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that does nothing if the id exists, even if two processes write it concurrently."""
    if conn.dialect.name == "postgresql":
        return postgresql.insert(records).on_conflict_do_nothing()
    return sqlite.insert(records).on_conflict_do_nothing()


def get(conn: Connection, owner: str, id: str) -> tuple[Record, Packed] | None:
    """Return a record and its encoded Result; None if this owner has no such record."""
    query = select(*COLUMNS, results.c.result).join(results, results.c.record_id == records.c.id)
    row = conn.execute(query.where(records.c.id == id, records.c.owner == owner)).one_or_none()
    return None if row is None else (row_to_record(row), row.result)


def search(conn: Connection, record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None = None) -> list[Record]:
    """Return up to `limit` records, newest first. `after`: time and id of the last record of the previous page."""
    return [row_to_record(row) for row in conn.execute(_page(conn, select(*COLUMNS), record_query, limit, after))]


def search_results(
    conn: Connection, record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None = None
) -> list[tuple[Record, Packed]]:
    """Like `search`, each with its encoded Result."""
    query = select(*COLUMNS, results.c.result).join(results, results.c.record_id == records.c.id)
    return [(row_to_record(row), row.result) for row in conn.execute(_page(conn, query, record_query, limit, after))]


def _page(
    conn: Connection, query: Select[Any], record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None
) -> Select[Any]:
    query = query.where(*where_clauses(conn, record_query))
    if after is not None:  # a row comparison uses the index; two conditions joined by OR would not
        query = query.where(tuple_(records.c.created_at, records.c.id) < after)
    return query.order_by(records.c.created_at.desc(), records.c.id.desc()).limit(limit)


def keys(conn: Connection, record_query: RecordQuery, limit: int) -> list[str]:
    """Return up to `limit` keys of fields with values in these records, in alphabetical order."""
    matching = select(records.c.id).where(*where_clauses(conn, record_query))
    query = select(values.c.key).where(values.c.owner == record_query.owner, values.c.record_id.in_(matching)).distinct()
    return list(conn.scalars(query.order_by(values.c.key).limit(limit)))


def remove(conn: Connection, owner: str, ids: Sequence[str]) -> tuple[int, list[str]]:
    """Delete records of this owner with all related rows, including the outbox; return their number and their images."""
    mine = (records.c.owner == owner, records.c.id.in_(ids))
    images = conn.scalars(select(records.c.image).where(*mine, records.c.image.is_not(None)).distinct()).all()
    deleted = conn.execute(delete(records).where(*mine)).rowcount  # ON DELETE CASCADE handles the other tables
    return deleted, [image for image in images if image is not None]


def expired(conn: Connection, before: datetime, limit: int, *, with_image: bool = False) -> list[tuple[str, str]]:
    """Return owner and id of up to `limit` records created before a time, oldest first; for the retention."""
    query = select(records.c.owner, records.c.id).where(records.c.created_at < before)
    if with_image:
        query = query.where(records.c.image.is_not(None))
    return [(row.owner, row.id) for row in conn.execute(query.order_by(records.c.created_at).limit(limit))]


def clear_images(conn: Connection, ids: Sequence[str]) -> list[str]:
    """Remove the images from these records and return the images."""
    mine = (records.c.id.in_(ids), records.c.image.is_not(None))
    images = conn.scalars(select(records.c.image).where(*mine).distinct()).all()
    conn.execute(update(records).where(*mine).values(image=None))
    return [image for image in images if image is not None]


def still_referenced(conn: Connection, images: Sequence[str]) -> set[str]:
    """Return those of these images that a record still references."""
    names = conn.scalars(select(records.c.image).where(records.c.image.in_(images)).distinct())
    return {name for name in names if name is not None}


def lock_pictures(conn: Connection) -> None:
    """Exclude other transactions that store or delete images, until the end of this one; SQLite has only one writer anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _IMAGE_LOCK})


def row_to_record(row: Any) -> Record:
    """Convert a row of `COLUMNS` to a Record."""
    return Record(**{name: getattr(row, name) for name in Record.__dataclass_fields__})
