"""Records that HQ has not received: oldest first, in batches with a stable id until HQ has confirmed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from hunyuanocr.ids import new_id
from hunyuanocr.store.records import COLUMNS, Record, row_to_record
from hunyuanocr.store.tables import outbox, records

MAX_RECORDS = 200  # per batch


@dataclass(frozen=True)
class Batch:
    """Records that are sent together, with an id that is the same for every attempt."""

    id: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Backlog:
    """Number and age of the records that HQ has not received."""

    records: int
    oldest: datetime | None


def next_batch(conn: Connection, size: Callable[[Record], int], max_bytes: int, max_records: int = MAX_RECORDS) -> Batch | None:
    """Return the unconfirmed batch, or a new one of the oldest records: up to `max_bytes` and `max_records`, at least one."""
    unconfirmed = conn.scalar(select(outbox.c.batch_id).where(outbox.c.batch_id.is_not(None)).limit(1))
    if unconfirmed is not None:
        return Batch(unconfirmed, tuple(_records(conn, outbox.c.batch_id == unconfirmed, max_records)))
    chosen: list[Record] = []
    for record in _records(conn, outbox.c.batch_id.is_(None), max_records):
        max_bytes -= size(record)
        if chosen and max_bytes < 0:
            break
        chosen.append(record)
    if not chosen:
        return None
    batch = Batch(new_id(), tuple(chosen))
    mine = outbox.c.record_id.in_([record.id for record in chosen])
    conn.execute(update(outbox).where(mine).values(batch_id=batch.id))
    return batch


def _records(conn: Connection, which: object, limit: int) -> list[Record]:
    query = select(*COLUMNS).join(outbox, outbox.c.record_id == records.c.id).where(which)  # type: ignore[arg-type]
    return [row_to_record(row) for row in conn.execute(query.order_by(outbox.c.queued_at, outbox.c.record_id).limit(limit))]


def confirm(conn: Connection, batch_id: str) -> None:
    """Remove a batch that HQ has confirmed."""
    conn.execute(delete(outbox).where(outbox.c.batch_id == batch_id))


def waiting(conn: Connection) -> Backlog:
    """Return the backlog of all owners."""
    return Backlog(*conn.execute(select(func.count(), func.min(outbox.c.queued_at))).one())
