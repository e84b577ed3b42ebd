"""Records: one for every answer. Each function runs inside a transaction (`Database.run`, `Database.query`), session first.

Nobody sees another owner's records: every function asks for the owner.
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

Packed = dict[str, Any]
_PICTURES = 7_240_118  # PostgreSQL's number of the pictures' lock


@dataclass(frozen=True)
class FieldValue:
    """One value of a field, for searching: `key` is the answer's, `name` goes down into rows (`items.amount`)."""

    key: str
    name: str
    value: str
    normalized: str | None = None


@dataclass(frozen=True)
class Record:
    """What is kept of one answer. `confidence` is the lines' mean and `confidence_min` their least; None where there is none."""

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
    image: str | None = None  # SHA-256 of the kept picture


@dataclass(frozen=True)
class Entry:
    """A record with what stands in tables of its own."""

    record: Record
    result: Packed
    values: tuple[FieldValue, ...] = field(default=())


COLUMNS = [records.c[name] for name in Record.__dataclass_fields__]


def insert(conn: Connection, entry: Entry, *, send: bool = False) -> bool:
    """Write a record, once: False when its id is there already, and then nothing changes.

    With `send` it is queued for HQ in the same transaction.
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
    """An INSERT that does nothing where the id is there already, also where two processes write it at the same time."""
    if conn.dialect.name == "postgresql":
        return postgresql.insert(records).on_conflict_do_nothing()
    return sqlite.insert(records).on_conflict_do_nothing()


def get(conn: Connection, owner: str, id: str) -> tuple[Record, Packed] | None:
    """A record and its packed Result; None when there is none of this owner's."""
    query = select(*COLUMNS, results.c.result).join(results, results.c.record_id == records.c.id)
    row = conn.execute(query.where(records.c.id == id, records.c.owner == owner)).one_or_none()
    return None if row is None else (row_to_record(row), row.result)


def search(conn: Connection, record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None = None) -> list[Record]:
    """At most `limit` records, the newest first. `after` is the time and id of the last one of the page before."""
    return [row_to_record(row) for row in conn.execute(_page(conn, select(*COLUMNS), record_query, limit, after))]


def search_results(
    conn: Connection, record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None = None
) -> list[tuple[Record, Packed]]:
    """As `search`, each with its packed Result."""
    query = select(*COLUMNS, results.c.result).join(results, results.c.record_id == records.c.id)
    return [(row_to_record(row), row.result) for row in conn.execute(_page(conn, query, record_query, limit, after))]


def _page(
    conn: Connection, query: Select[Any], record_query: RecordQuery, limit: int, after: tuple[datetime, str] | None
) -> Select[Any]:
    query = query.where(*where_clauses(conn, record_query))
    if after is not None:  # a comparison of rows uses the index; two conditions joined by OR would not
        query = query.where(tuple_(records.c.created_at, records.c.id) < after)
    return query.order_by(records.c.created_at.desc(), records.c.id.desc()).limit(limit)


def keys(conn: Connection, record_query: RecordQuery, most: int) -> list[str]:
    """Keys of the fields that these records have values of, at most `most`, in alphabetical order."""
    found = select(records.c.id).where(*where_clauses(conn, record_query))
    query = select(values.c.key).where(values.c.owner == record_query.owner, values.c.record_id.in_(found)).distinct()
    return list(conn.scalars(query.order_by(values.c.key).limit(most)))


def remove(conn: Connection, owner: str, ids: Sequence[str]) -> tuple[int, list[str]]:
    """Delete records of this owner with all that belongs to them, in the outbox too. How many, and the pictures they named."""
    mine = (records.c.owner == owner, records.c.id.in_(ids))
    pictures = conn.scalars(select(records.c.image).where(*mine, records.c.image.is_not(None)).distinct()).all()
    gone = conn.execute(delete(records).where(*mine)).rowcount  # the other tables follow by ON DELETE CASCADE
    return gone, [picture for picture in pictures if picture is not None]


def expired(conn: Connection, before: datetime, most: int, *, with_image: bool = False) -> list[tuple[str, str]]:
    """Owners and ids of at most `most` records made before a moment, the oldest first; for the retention."""
    query = select(records.c.owner, records.c.id).where(records.c.created_at < before)
    if with_image:
        query = query.where(records.c.image.is_not(None))
    return [(row.owner, row.id) for row in conn.execute(query.order_by(records.c.created_at).limit(most))]


def clear_images(conn: Connection, ids: Sequence[str]) -> list[str]:
    """Keep the records, let go of their pictures, which are returned."""
    mine = (records.c.id.in_(ids), records.c.image.is_not(None))
    pictures = conn.scalars(select(records.c.image).where(*mine).distinct()).all()
    conn.execute(update(records).where(*mine).values(image=None))
    return [picture for picture in pictures if picture is not None]


def still_referenced(conn: Connection, pictures: Sequence[str]) -> set[str]:
    """Those of these pictures that some record still names."""
    found = conn.scalars(select(records.c.image).where(records.c.image.in_(pictures)).distinct())
    return {picture for picture in found if picture is not None}


def lock_pictures(conn: Connection) -> None:
    """Until the end of this transaction nobody else keeps or drops pictures; SQLite's writer is alone anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PICTURES})


def row_to_record(row: Any) -> Record:
    """A row of `COLUMNS` as a Record."""
    return Record(**{name: getattr(row, name) for name in Record.__dataclass_fields__})
