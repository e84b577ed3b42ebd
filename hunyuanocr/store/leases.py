"""Claims on running jobs, as they stand in the database. Each function runs inside a transaction, like those of `store.jobs`."""

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
    """The claim on a running job as it stands; each renewal changes `until`."""

    id: str
    attempts: int
    until: datetime | None


def leases(conn: Connection) -> list[Lease]:
    """The claims on all running jobs."""
    query = select(jobs.c.id, jobs.c.attempts, jobs.c.lease_until).where(jobs.c.status == "running")
    return [Lease(*row) for row in conn.execute(query)]


def find_orphaned(conn: Connection, worker: str | None, expired: Collection[Lease] = ()) -> list[Job]:
    """Jobs that were being read by a worker that is dead: the one that starts now, by its name, and those of expired leases,
    unless these have been renewed since.
    """
    dead = or_(jobs.c.worker == worker, jobs.c.id.in_([lease.id for lease in expired]))
    query = select(*_COLUMNS).where(jobs.c.status == "running", dead)
    found = [Job(*row) for row in conn.execute(query.with_for_update(skip_locked=True))]
    return [job for job in found if job.worker == worker or Lease(job.id, job.attempts, job.lease_until) in expired]
