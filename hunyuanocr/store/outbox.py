"""What HQ has not got yet: the oldest first, in batches that keep their id until HQ has confirmed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from hunyuanocr.store.ids import new_id
from hunyuanocr.store.records import COLUMNS, Record, row_to_record
from hunyuanocr.store.tables import outbox, records

_MAX_RECORDS = 200  # records a batch


@dataclass(frozen=True)
class Batch:
    """Records that go together, under an id that they keep however often they are sent."""

    id: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Backlog:
    """How much HQ lags behind."""

    records: int
    oldest: datetime | None


def next_batch(conn: Connection, size: Callable[[Record], int], most_bytes: int) -> Batch | None:
    """The batch that was not confirmed, or a new one of the oldest records: as many as `most_bytes` hold, at least one."""
    begun = conn.scalar(select(outbox.c.batch_id).where(outbox.c.batch_id.is_not(None)).limit(1))
    if begun is not None:
        return Batch(begun, tuple(_records(conn, outbox.c.batch_id == begun)))
    chosen: list[Record] = []
    for record in _records(conn, outbox.c.batch_id.is_(None)):
        most_bytes -= size(record)
        if chosen and most_bytes < 0:
            break
        chosen.append(record)
    if not chosen:
        return None
    batch = Batch(new_id(), tuple(chosen))
    mine = outbox.c.record_id.in_([record.id for record in chosen])
    conn.execute(update(outbox).where(mine).values(batch_id=batch.id))
    return batch


def _records(conn: Connection, which: object) -> list[Record]:
    query = select(*COLUMNS).join(outbox, outbox.c.record_id == records.c.id).where(which)  # type: ignore[arg-type]
    return [
        row_to_record(row) for row in conn.execute(query.order_by(outbox.c.queued_at, outbox.c.record_id).limit(_MAX_RECORDS))
    ]


def confirm(conn: Connection, batch_id: str) -> None:
    """HQ has it."""
    conn.execute(delete(outbox).where(outbox.c.batch_id == batch_id))


def waiting(conn: Connection) -> Backlog:
    """Of all owners."""
    return Backlog(*conn.execute(select(func.count(), func.min(outbox.c.queued_at))).one())
