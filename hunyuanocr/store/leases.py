"""Leases of running jobs in the database. Each function runs inside a transaction, like those of `store.jobs`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select

from hunyuanocr.store.jobs import Job
from hunyuanocr.store.tables import jobs

_COLUMNS = [jobs.c[name] for name in Job.__dataclass_fields__]


@dataclass(frozen=True)
class Lease:
    """The current lease of a running job; each renewal changes `until`."""

    id: str
    attempts: int
    until: datetime | None


def leases(conn: Connection) -> list[Lease]:
    """Return the leases of all running jobs."""
    query = select(jobs.c.id, jobs.c.attempts, jobs.c.lease_until).where(jobs.c.status == "running")
    return [Lease(*row) for row in conn.execute(query)]


def find_orphaned(conn: Connection, worker: str | None, expired: Collection[Lease] = ()) -> list[Job]:
    """Return the jobs of a crashed worker: the one with the given name, which is starting now, and those of expired leases.

    Leases that were renewed since then are left out.
    """
    orphaned = or_(jobs.c.worker == worker, jobs.c.id.in_([lease.id for lease in expired]))
    query = select(*_COLUMNS).where(jobs.c.status == "running", orphaned)
    candidates = [Job(*row) for row in conn.execute(query.with_for_update(skip_locked=True))]
    return [job for job in candidates if job.worker == worker or Lease(job.id, job.attempts, job.lease_until) in expired]
