"""Webhooks that are to be delivered: written in the transaction that ends their job, kept until the other side has taken them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, String, Table, Text, and_, func, not_, or_, select, update

from hunyuanocr.store.jobs import Job
from hunyuanocr.store.tables import Id, Owner, Utc, metadata

deliveries = Table(
    "job_webhooks", metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Id, nullable=False),  # the other side knows the message by it
    Column("owner", Owner, nullable=False),
    Column("url", Text, nullable=False),
    Column("status", String(10), nullable=False),  # pending, delivered, given_up
    Column("attempts", Integer, nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("worker", String(200)),  # who is delivering it now
    Column("delivered_at", Utc),
    Column("trouble", Text),  # of the latest attempt
    Index(None, "status", "due_at"),
)  # fmt: skip


@dataclass(frozen=True)
class Delivery:
    """One message: the end of one job, told to one address."""

    job_id: str
    id: str
    owner: str
    url: str
    due_at: datetime
    status: str = "pending"
    attempts: int = 0
    delivered_at: datetime | None = None
    trouble: str | None = None


_NAMES = tuple(Delivery.__dataclass_fields__)
_COLUMNS = [deliveries.c[name] for name in _NAMES]


def add(conn: Connection, job: Job, id: str, now: datetime) -> None:
    """Have the end of a job told, if it asked for that."""
    if job.webhook is None:
        return
    conn.execute(deliveries.insert().values(
        job_id=job.id, id=id, owner=job.owner, url=job.webhook, status="pending", attempts=0, due_at=now
    ))  # fmt: skip


def by_job(conn: Connection, job_ids: Sequence[str]) -> dict[str, Delivery]:
    """The messages of these jobs, by job."""
    found = conn.execute(select(*_COLUMNS).where(deliveries.c.job_id.in_(job_ids)))
    return {row.job_id: _delivery(row) for row in found}


def due_owners(conn: Connection, now: datetime) -> list[str]:
    """Owners of messages that are due, who has waited longest first."""
    query = select(deliveries.c.owner).where(deliveries.c.status == "pending", deliveries.c.due_at <= now)
    return list(conn.scalars(query.group_by(deliveries.c.owner).order_by(func.min(deliveries.c.due_at), deliveries.c.owner)))


def due_of(conn: Connection, owner: str, now: datetime, busy: Collection[str], most: int) -> list[Delivery]:
    """This owner's messages that are due, the oldest first, but for addresses that begin with one of `busy` (in lower case)."""
    query = select(*_COLUMNS).where(deliveries.c.status == "pending", deliveries.c.due_at <= now, deliveries.c.owner == owner)
    url = func.lower(deliveries.c.url)
    for origin in busy:
        ends = [url.startswith(origin + end, autoescape=True) for end in "/?#"]
        query = query.where(not_(or_(url == origin, *ends)))
    return [_delivery(row) for row in conn.execute(query.order_by(deliveries.c.due_at, deliveries.c.job_id).limit(most))]


def take(conn: Connection, worker: str, now: datetime, hold_s: float, job_ids: Collection[str]) -> list[Delivery]:
    """Those of these messages that are still due. They are due again after `hold_s`, unless `record_attempt` says how it went."""
    mine = (deliveries.c.status == "pending", deliveries.c.due_at <= now, deliveries.c.job_id.in_(job_ids))
    due = [_delivery(row) for row in conn.execute(
        select(*_COLUMNS).where(*mine).order_by(deliveries.c.due_at).with_for_update(skip_locked=True)
    )]  # fmt: skip
    ids = [d.job_id for d in due]
    if ids:
        conn.execute(update(deliveries).where(deliveries.c.job_id.in_(ids)).values(
            due_at=now + timedelta(seconds=hold_s), worker=worker
        ))  # fmt: skip
    return due


def record_attempt(
    conn: Connection, delivery: Delivery, status: str, *, due_at: datetime, delivered_at: datetime | None, trouble: str | None
) -> None:
    """How an attempt went: `delivered`, `given_up`, or `pending` until `due_at`."""
    conn.execute(update(deliveries).where(deliveries.c.job_id == delivery.job_id).values(
        status=status, attempts=delivery.attempts + 1, due_at=due_at, delivered_at=delivered_at, trouble=trouble, worker=None
    ))  # fmt: skip


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """When the next message is due that is not due yet."""
    query = select(deliveries.c.due_at).where(deliveries.c.status == "pending", deliveries.c.due_at > after)
    return conn.scalar(query.order_by(deliveries.c.due_at).limit(1))


def stuck(conn: Connection, now: datetime, longest_s: Sequence[float]) -> list[str]:
    """Jobs whose message is due later than it can be by this clock; `longest_s` by attempts, in seconds: another clock's word."""
    late = [
        and_(deliveries.c.attempts >= n if n == len(longest_s) - 1 else deliveries.c.attempts == n,
             deliveries.c.due_at > now + timedelta(seconds=seconds))
        for n, seconds in enumerate(longest_s)
    ]  # fmt: skip
    return list(conn.scalars(select(deliveries.c.job_id).where(deliveries.c.status == "pending", or_(*late)).limit(1000)))


def hasten(conn: Connection, now: datetime, job_ids: Collection[str]) -> None:
    """Have these messages due now."""
    mine = (deliveries.c.status == "pending", deliveries.c.job_id.in_(job_ids))
    conn.execute(update(deliveries).where(*mine).values(due_at=now))


def release_stale(conn: Connection, worker: str, now: datetime) -> None:
    """After a restart: what this worker was delivering when it died is due now."""
    mine = (deliveries.c.status == "pending", deliveries.c.worker == worker)
    conn.execute(update(deliveries).where(*mine).values(due_at=now, worker=None))


def _delivery(row: Any) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in _NAMES})
