"""Jobs: pictures that were accepted and are read later. Each function runs inside a transaction (`Database.run`, `query`).

A picture lies in the database itself, in a table of its own, until its job is over: it is accepted, and deleted, in the same
transaction as its row, so that a kill can separate them at no instant, and a backup has both. An answer is the record with the
job's id; deleting the record deletes it.

A job that is `running` belongs to a worker, a name that is the same after a restart, and by that worker's lease: when a worker
starts again, or has not renewed its lease for too long (`services.jobs.leases`), its jobs are queued again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, text, update

from hunyuanocr.errors import IdempotencyConflict
from hunyuanocr.store.jobqueue import QueueLimits, check_capacity, next_turn, take_next
from hunyuanocr.store.tables import inputs, jobs, keys

_LOCK = 7_240_119  # PostgreSQL's number of the queue's lock
OPEN = ("queued", "running")
FINISHED = ("done", "failed", "cancelled")
UPLOADING = "arriving"  # of a batch whose last file is not written yet: nobody sees it


@dataclass(frozen=True)
class Job:
    """One job. `error` has `code`, `detail` and `hint` when it failed. `fair_key` is among whose jobs its turn is counted; left
    out, among its owner's.
    """

    id: str
    owner: str
    created_at: datetime
    wanted: Mapping[str, Any]
    size: int
    status: str = "queued"
    priority: int = 0
    batch_id: str | None = None
    name: str | None = None
    device: str | None = None
    webhook: str | None = None
    attempts: int = 0
    worker: str | None = None
    lease_until: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    pages: int | None = None
    error: Mapping[str, str] | None = None
    fair_key: str = ""


@dataclass(frozen=True)
class IdempotencyKey:
    """A client's idempotency key, and what its request was."""

    key: str
    fingerprint: str


_NAMES = tuple(Job.__dataclass_fields__)
_COLUMNS = [jobs.c[name] for name in _NAMES]


def find_idempotent(conn: Connection, owner: str, key: IdempotencyKey) -> str | None:
    """The id that was made with this key before. Raises IdempotencyConflict when that was for another request."""
    row = conn.execute(select(keys).where(keys.c.owner == owner, keys.c.key == key.key)).one_or_none()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise IdempotencyConflict("This Idempotency-Key came with another request before.")
    return str(row.target)


def add(conn: Connection, job: Job, data: bytes, limits: QueueLimits, key: IdempotencyKey | None = None) -> tuple[str, bool]:
    """Accept a job: its id and True, or the id of the one that was accepted with the same key, and False.

    Raises QueueFull and IdempotencyConflict.
    """
    lock(conn)
    if key is not None:
        if (before := find_idempotent(conn, job.owner, key)) is not None:
            return before, False
        conn.execute(keys.insert().values(
            owner=job.owner, key=key.key, fingerprint=key.fingerprint, target=job.id, created_at=job.created_at
        ))  # fmt: skip
    fair_key = job.fair_key or job.owner
    check_capacity(conn, fair_key, 1, len(data), limits)
    insert(conn, job, data, next_turn(conn, fair_key))
    return job.id, True


def insert(conn: Connection, job: Job, data: bytes | None, turn: int) -> None:
    """Write the rows of a job."""
    values = {name: getattr(job, name) for name in _NAMES} | {"fair_key": job.fair_key or job.owner, "turn": turn}
    conn.execute(jobs.insert().values(values))
    if data is not None:
        conn.execute(inputs.insert().values(job_id=job.id, owner=job.owner, data=data))


def lock(conn: Connection) -> None:
    """Until the end of this transaction nobody else adds jobs; SQLite's writer is alone anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def get(conn: Connection, owner: str, id: str) -> Job | None:
    """The job; None when there is none of this owner's."""
    row = conn.execute(_visible(owner).where(jobs.c.id == id)).one_or_none()
    return None if row is None else _job(row)


def search(
    conn: Connection, owner: str, limit: int, *, status: str | None = None, batch_id: str | None = None,
    before: str | None = None, after: str | None = None,
) -> list[Job]:  # fmt: skip
    """At most `limit` jobs, the newest first; or, `after` an id ('' for the beginning), the oldest first. Ids sort by time."""
    query = _visible(owner).limit(limit)
    if status is not None:
        query = query.where(jobs.c.status == status)
    if batch_id is not None:
        query = query.where(jobs.c.batch_id == batch_id)
    if before is not None:
        query = query.where(jobs.c.id < before)
    if after is not None:
        return [_job(row) for row in conn.execute(query.where(jobs.c.id > after).order_by(jobs.c.id))]
    return [_job(row) for row in conn.execute(query.order_by(jobs.c.id.desc()))]


def count_queued(conn: Connection) -> int:
    """How many jobs are queued."""
    return conn.scalar(select(func.count()).where(jobs.c.status == "queued")) or 0


def by_status(conn: Connection) -> dict[str, int]:
    """How many jobs there are in each state, of all owners."""
    found = conn.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
    return dict.fromkeys((*OPEN, *FINISHED), 0) | {str(status): int(count) for status, count in found}


def next_attempt_count(conn: Connection) -> int | None:
    """How often the next job was begun already; None when no job is queued."""
    fewest: int | None = conn.scalar(select(func.min(jobs.c.attempts)).where(jobs.c.status == "queued"))
    return fewest


def claim(conn: Connection, worker: str, now: datetime, lease_s: float, *, suspects: bool) -> tuple[Job, bytes] | None:
    """Take the next job, with its picture. Those at which the process died before come last, and only if `suspects`."""
    id = take_next(conn, suspects=suspects)
    if id is None:
        return None
    conn.execute(update(jobs).where(jobs.c.id == id).values(
        status="running", attempts=jobs.c.attempts + 1, worker=worker, lease_until=now + timedelta(seconds=lease_s),
        started_at=now,
    ))  # fmt: skip
    query_ = select(*_COLUMNS, inputs.c.data).join(inputs, inputs.c.job_id == jobs.c.id)
    row = conn.execute(query_.where(jobs.c.id == id)).one()
    return _job(row), bytes(row.data)


def finish(conn: Connection, job: Job, status: str, now: datetime, *, pages: int | None, error: Any = None) -> bool:
    """End a job that was claimed, and forget its picture and what was asked, of which the record tells. False when it is not the
    claimer's any more: then nothing changes.
    """
    mine = (jobs.c.id == job.id, jobs.c.status == "running", jobs.c.worker == job.worker, jobs.c.attempts == job.attempts)
    ended = conn.execute(update(jobs).where(*mine).values(
        status=status, finished_at=now, pages=pages, error=error, worker=None, lease_until=None, wanted=_form_of(job.wanted)
    )).rowcount  # fmt: skip
    if ended:
        conn.execute(delete(inputs).where(inputs.c.job_id == job.id))
    return bool(ended)


def requeue(conn: Connection, job: Job, *, uncounted: bool) -> None:
    """Queue a claimed job again; `uncounted` when it was not its fault that it did not end."""
    mine = (jobs.c.id == job.id, jobs.c.status == "running", jobs.c.worker == job.worker, jobs.c.attempts == job.attempts)
    conn.execute(update(jobs).where(*mine).values(
        status="queued", attempts=jobs.c.attempts - int(uncounted), worker=None, lease_until=None
    ))  # fmt: skip


def cancel(conn: Connection, owner: str, id: str, now: datetime) -> bool:
    """End a job that waits or is being read. False when there is no such job of this owner's that is not over."""
    mine = (jobs.c.id == id, jobs.c.owner == owner, jobs.c.status.in_(OPEN))
    ended = conn.execute(update(jobs).where(*mine).values(
        status="cancelled", finished_at=now, worker=None, lease_until=None, wanted={}
    )).rowcount  # fmt: skip
    if ended:
        conn.execute(delete(inputs).where(inputs.c.job_id == id))
    return bool(ended)


def _form_of(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The part of what was asked that is needed after the end: the form of the answer, which no person has written."""
    return {"response": wanted["response"]} if "response" in wanted else {}


def redact(conn: Connection, owner: str, ids: Collection[str]) -> None:
    """Forget the names of file and device of these jobs of this owner, whose records are deleted, and what was asked."""
    mine = (jobs.c.owner == owner, jobs.c.id.in_(ids), jobs.c.status.in_(FINISHED))
    conn.execute(update(jobs).where(*mine).values(name=None, device=None, wanted={}))


def renew(conn: Connection, worker: str, ids: Collection[str], now: datetime, lease_s: float) -> set[str]:
    """Extend this worker's lease of these jobs; those that are still its own, so that it learns which ones were cancelled."""
    mine = (jobs.c.worker == worker, jobs.c.status == "running", jobs.c.id.in_(ids))
    conn.execute(update(jobs).where(*mine).values(lease_until=now + timedelta(seconds=lease_s)))
    return set(conn.scalars(select(jobs.c.id).where(*mine)))


def release(conn: Connection, worker: str) -> None:
    """Queue what this worker has begun: it stops by order."""
    mine = (jobs.c.worker == worker, jobs.c.status == "running")
    conn.execute(update(jobs).where(*mine).values(
        status="queued", attempts=jobs.c.attempts - 1, worker=None, lease_until=None
    ))  # fmt: skip


def forget(conn: Connection, owner: str, ids: Collection[str]) -> list[str]:
    """Delete those of these jobs of this owner that are over, and what they were asked with; their ids."""
    mine = (jobs.c.owner == owner, jobs.c.id.in_(ids), jobs.c.status.in_(FINISHED))
    over = list(conn.scalars(select(jobs.c.id).where(*mine)))
    conn.execute(delete(jobs).where(jobs.c.owner == owner, jobs.c.id.in_(over)))
    conn.execute(delete(keys).where(keys.c.owner == owner, keys.c.target.in_(over)))
    return over


def finished_before(conn: Connection, before: datetime, most: int) -> list[tuple[str, str]]:
    """Owners and ids of at most `most` jobs that were over before a moment."""
    query = select(jobs.c.owner, jobs.c.id).where(jobs.c.finished_at < before).limit(most)
    return [(row.owner, row.id) for row in conn.execute(query)]


def over_after(conn: Connection, after: datetime) -> list[tuple[str, str]]:
    """Ids and owners of jobs that were over after a moment, which is one to come: their clock was wrong."""
    query = select(jobs.c.id, jobs.c.owner).where(jobs.c.finished_at > after)
    return [(row.id, row.owner) for row in conn.execute(query)]


def delete_expired(conn: Connection, before: datetime) -> int:
    """Delete jobs that were over before a moment, and keys as old; their records stay. How many jobs."""
    old = conn.execute(delete(jobs).where(jobs.c.finished_at < before)).rowcount
    conn.execute(delete(keys).where(keys.c.created_at < before))
    return old


def _visible(owner: str) -> Select[Any]:
    return select(*_COLUMNS).where(jobs.c.owner == owner, jobs.c.status != UPLOADING)


def _job(row: Any) -> Job:
    return Job(**{name: getattr(row, name) for name in _NAMES})
