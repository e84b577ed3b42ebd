"""Webhook deliveries: written in the transaction that finishes the job, kept until the receiver has accepted them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Index, Integer, Table, and_, func, not_, or_, select, update

from hunyuanocr.store.jobs import Job
from hunyuanocr.store.tables import CleanString, CleanText, Id, Owner, Utc, metadata

deliveries = Table(
    "job_webhooks",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Id, nullable=False),  # id of the message, for the receiver
    Column("owner", Owner, nullable=False),
    Column("url", CleanText, nullable=False),
    Column("status", CleanString(10), nullable=False),  # pending, delivered, given_up
    Column("attempts", Integer, nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("worker", CleanString(200)),  # that is delivering it now
    Column("delivered_at", Utc),
    Column("last_error", CleanText),  # error of the latest attempt
    Index(None, "status", "due_at"),
)


@dataclass(frozen=True)
class Delivery:
    """One message: the end of a job, for one URL."""

    job_id: str
    id: str
    owner: str
    url: str
    due_at: datetime
    status: str = "pending"
    attempts: int = 0
    delivered_at: datetime | None = None
    last_error: str | None = None


_NAMES = tuple(Delivery.__dataclass_fields__)
_COLUMNS = [deliveries.c[name] for name in _NAMES]


def add(conn: Connection, job: Job, id: str, now: datetime) -> None:
    """Queue the message about the end of a job, if the job has a webhook."""
    if job.webhook is None:
        return
    conn.execute(
        deliveries.insert().values(
            job_id=job.id, id=id, owner=job.owner, url=job.webhook, status="pending", attempts=0, due_at=now
        )
    )


def by_job(conn: Connection, job_ids: Sequence[str]) -> dict[str, Delivery]:
    """Return the messages of these jobs, by job id."""
    rows = conn.execute(select(*_COLUMNS).where(deliveries.c.job_id.in_(job_ids)))
    return {row.job_id: _delivery(row) for row in rows}


def due_owners(conn: Connection, now: datetime) -> list[str]:
    """Return the owners of due messages, longest waiting first."""
    query = select(deliveries.c.owner).where(deliveries.c.status == "pending", deliveries.c.due_at <= now)
    return list(conn.scalars(query.group_by(deliveries.c.owner).order_by(func.min(deliveries.c.due_at), deliveries.c.owner)))


def due_of(conn: Connection, owner: str, now: datetime, busy: Collection[str], limit: int) -> list[Delivery]:
    """Return up to `limit` due messages of this owner, oldest first, except to the origins in `busy` (lower case)."""
    query = select(*_COLUMNS).where(deliveries.c.status == "pending", deliveries.c.due_at <= now, deliveries.c.owner == owner)
    url = func.lower(deliveries.c.url)
    for origin in busy:
        ends = [url.startswith(origin + end, autoescape=True) for end in "/?#"]
        query = query.where(not_(or_(url == origin, *ends)))
    return [_delivery(row) for row in conn.execute(query.order_by(deliveries.c.due_at, deliveries.c.job_id).limit(limit))]


def take(conn: Connection, worker: str, now: datetime, lease_s: float, job_ids: Collection[str]) -> list[Delivery]:
    """Claim and return those messages that are still due. Without `record_attempt` they are due again after `lease_s` seconds."""
    mine = (deliveries.c.status == "pending", deliveries.c.due_at <= now, deliveries.c.job_id.in_(job_ids))
    due = [
        _delivery(row)
        for row in conn.execute(select(*_COLUMNS).where(*mine).order_by(deliveries.c.due_at).with_for_update(skip_locked=True))
    ]
    ids = [d.job_id for d in due]
    if ids:
        conn.execute(
            update(deliveries).where(deliveries.c.job_id.in_(ids)).values(due_at=now + timedelta(seconds=lease_s), worker=worker)
        )
    return due


def record_attempt(
    conn: Connection, delivery: Delivery, status: str, *, due_at: datetime, delivered_at: datetime | None, last_error: str | None
) -> None:
    """Record the outcome of an attempt: `delivered`, `given_up`, or `pending` until `due_at`."""
    outcome = {"status": status, "due_at": due_at, "delivered_at": delivered_at, "last_error": last_error}
    mine = deliveries.c.job_id == delivery.job_id
    conn.execute(update(deliveries).where(mine).values(**outcome, attempts=delivery.attempts + 1, worker=None))


def next_due(conn: Connection, after: datetime) -> datetime | None:
    """Return when the next message is due after this time."""
    query = select(deliveries.c.due_at).where(deliveries.c.status == "pending", deliveries.c.due_at > after)
    return conn.scalar(query.order_by(deliveries.c.due_at).limit(1))


def stuck(conn: Connection, now: datetime, max_due_s: Sequence[float]) -> list[str]:
    """Return jobs whose message is due later than possible by this clock; `max_due_s`: maximum seconds by attempts."""
    late = [
        and_(
            deliveries.c.attempts >= n if n == len(max_due_s) - 1 else deliveries.c.attempts == n,
            deliveries.c.due_at > now + timedelta(seconds=seconds),
        )
        for n, seconds in enumerate(max_due_s)
    ]
    return list(conn.scalars(select(deliveries.c.job_id).where(deliveries.c.status == "pending", or_(*late)).limit(1000)))


def hasten(conn: Connection, now: datetime, job_ids: Collection[str]) -> None:
    """Make these messages due now."""
    mine = (deliveries.c.status == "pending", deliveries.c.job_id.in_(job_ids))
    conn.execute(update(deliveries).where(*mine).values(due_at=now))


def release_stale(conn: Connection, worker: str, now: datetime) -> None:
    """Make the messages due that this worker was delivering when it crashed; called after a restart."""
    mine = (deliveries.c.status == "pending", deliveries.c.worker == worker)
    conn.execute(update(deliveries).where(*mine).values(due_at=now, worker=None))


def _delivery(row: Any) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in _NAMES})
