"""Jobs: accepted documents that are read later. Each function runs inside a transaction (`Database.write`, `Database.read`).

The uploaded file is stored in a separate table of the database until its job ends. It is inserted and deleted in the same
transaction as the job's row, so that a crash cannot separate them and a backup contains both. The result is the record with the
job's id; deleting the record deletes the result.

A `running` job belongs to a worker, whose name is stable across restarts, under a lease. When a worker starts again or has not
renewed its lease for too long (`services.jobs.leases`), its jobs are queued again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, text, update

from hunyuanocr.errors import IdempotencyConflict
from hunyuanocr.store.jobqueue import QueueLimits, check_capacity, next_turn, take_next
from hunyuanocr.store.result_codec import sanitize_json
from hunyuanocr.store.tables import inputs, jobs, keys

_LOCK = 7_240_119  # PostgreSQL advisory lock of the queue
OPEN = ("queued", "running")
FINISHED = ("done", "failed", "cancelled")
UPLOADING = "arriving"  # the batch is still being written: invisible to clients


@dataclass(frozen=True)
class Job:
    """One job. `error` has `code`, `detail` and `hint` if it failed. `fair_key` identifies the client; default: the owner."""

    id: str
    owner: str
    created_at: datetime
    params: Mapping[str, Any]
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
    """A client's idempotency key, and a fingerprint of its request."""

    key: str
    fingerprint: str


_NAMES = tuple(Job.__dataclass_fields__)
_COLUMNS = [jobs.c[name] for name in _NAMES]


def find_idempotent(conn: Connection, owner: str, key: IdempotencyKey) -> str | None:
    """Return the id that was created with this key before. Raises IdempotencyConflict if it belonged to another request."""
    row = conn.execute(select(keys).where(keys.c.owner == owner, keys.c.key == key.key)).one_or_none()
    if row is None:
        return None
    if row.fingerprint != key.fingerprint:
        raise IdempotencyConflict("This Idempotency-Key was used for another request.")
    return str(row.target)


def add(conn: Connection, job: Job, data: bytes, limits: QueueLimits, key: IdempotencyKey | None = None) -> tuple[str, bool]:
    """Accept a job: return its id and True, or False and the id of the job that was accepted with the same key.

    Raises QueueFull and IdempotencyConflict.
    """
    lock(conn)
    if key is not None:
        if (before := find_idempotent(conn, job.owner, key)) is not None:
            return before, False
        conn.execute(
            keys.insert().values(
                owner=job.owner, key=key.key, fingerprint=key.fingerprint, target=job.id, created_at=job.created_at
            )
        )
    fair_key = job.fair_key or job.owner
    check_capacity(conn, fair_key, 1, len(data), limits)
    insert(conn, job, data, next_turn(conn, fair_key))
    return job.id, True


def insert(conn: Connection, job: Job, data: bytes | None, turn: int) -> None:
    """Write the rows of a job."""
    values = {name: getattr(job, name) for name in _NAMES} | {"fair_key": job.fair_key or job.owner, "turn": turn}
    values["params"] = sanitize_json(job.params)
    conn.execute(jobs.insert().values(values))
    if data is not None:
        conn.execute(inputs.insert().values(job_id=job.id, owner=job.owner, data=data))


def lock(conn: Connection) -> None:
    """Exclude other transactions that add jobs, until the end of this one; SQLite has only one writer anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def get(conn: Connection, owner: str, id: str) -> Job | None:
    """Return the job; None if this owner has no such job."""
    row = conn.execute(_visible(owner).where(jobs.c.id == id)).one_or_none()
    return None if row is None else _job(row)


def search(
    conn: Connection,
    owner: str,
    limit: int,
    *,
    status: str | None = None,
    batch_id: str | None = None,
    before: str | None = None,
    after: str | None = None,
) -> list[Job]:
    """Return up to `limit` jobs, newest first; with `after` (an id, '' for the beginning) oldest first. Ids sort by time."""
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
    """Return the number of queued jobs."""
    return conn.scalar(select(func.count()).where(jobs.c.status == "queued")) or 0


def by_status(conn: Connection) -> dict[str, int]:
    """Return the number of jobs of all owners by status."""
    rows = conn.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
    return dict.fromkeys((*OPEN, *FINISHED), 0) | {str(status): int(count) for status, count in rows}


def next_attempt_count(conn: Connection) -> int | None:
    """Return how many attempts the next job already has; None if no job is queued."""
    attempts: int | None = conn.scalar(select(func.min(jobs.c.attempts)).where(jobs.c.status == "queued"))
    return attempts


def claim(conn: Connection, worker: str, now: datetime, lease_s: float, *, suspects: bool) -> tuple[Job, bytes] | None:
    """Claim the next job with its file. Crash suspects (jobs with earlier attempts) come last, and only if `suspects`."""
    id = take_next(conn, suspects=suspects)
    if id is None:
        return None
    conn.execute(
        update(jobs)
        .where(jobs.c.id == id)
        .values(
            status="running",
            attempts=jobs.c.attempts + 1,
            worker=worker,
            lease_until=now + timedelta(seconds=lease_s),
            started_at=now,
        )
    )
    query = select(*_COLUMNS, inputs.c.data).join(inputs, inputs.c.job_id == jobs.c.id)
    row = conn.execute(query.where(jobs.c.id == id)).one()
    return _job(row), bytes(row.data)


def finish(conn: Connection, job: Job, status: str, now: datetime, *, pages: int | None, error: Any = None) -> bool:
    """Finish a claimed job; delete its file and its parameters, which the record contains.

    Return False, without a change, if the job no longer belongs to the claimer.
    """
    mine = (jobs.c.id == job.id, jobs.c.status == "running", jobs.c.worker == job.worker, jobs.c.attempts == job.attempts)
    finished = conn.execute(
        update(jobs)
        .where(*mine)
        .values(
            status=status, finished_at=now, pages=pages, error=error, worker=None, lease_until=None, params=_public(job.params)
        )
    ).rowcount
    if finished:
        conn.execute(delete(inputs).where(inputs.c.job_id == job.id))
    return bool(finished)


def requeue(conn: Connection, job: Job, *, uncounted: bool) -> None:
    """Queue a claimed job again; `uncounted`: the attempt does not count, because the job did not cause its end."""
    mine = (jobs.c.id == job.id, jobs.c.status == "running", jobs.c.worker == job.worker, jobs.c.attempts == job.attempts)
    conn.execute(
        update(jobs)
        .where(*mine)
        .values(status="queued", attempts=jobs.c.attempts - int(uncounted), worker=None, lease_until=None)
    )


def cancel(conn: Connection, owner: str, id: str, now: datetime) -> bool:
    """Cancel a waiting or running job. Return False if this owner has no such unfinished job."""
    mine = (jobs.c.id == id, jobs.c.owner == owner, jobs.c.status.in_(OPEN))
    cancelled = conn.execute(
        update(jobs).where(*mine).values(status="cancelled", finished_at=now, worker=None, lease_until=None, params={})
    ).rowcount
    if cancelled:
        conn.execute(delete(inputs).where(inputs.c.job_id == id))
    return bool(cancelled)


def _public(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are needed after the end: the response format, which contains no user text."""
    return {"response": params["response"]} if "response" in params else {}


def redact(conn: Connection, owner: str, ids: Collection[str]) -> None:
    """Delete file name, device name and parameters of these finished jobs, whose records are deleted."""
    mine = (jobs.c.owner == owner, jobs.c.id.in_(ids), jobs.c.status.in_(FINISHED))
    conn.execute(update(jobs).where(*mine).values(name=None, device=None, params={}))


def renew(conn: Connection, worker: str, ids: Collection[str], now: datetime, lease_s: float) -> set[str]:
    """Extend this worker's lease of these jobs. Return the jobs that it still holds; the others were cancelled."""
    mine = (jobs.c.worker == worker, jobs.c.status == "running", jobs.c.id.in_(ids))
    conn.execute(update(jobs).where(*mine).values(lease_until=now + timedelta(seconds=lease_s)))
    return set(conn.scalars(select(jobs.c.id).where(*mine)))


def release(conn: Connection, worker: str) -> None:
    """Queue the jobs that this worker has started, on a regular shutdown."""
    mine = (jobs.c.worker == worker, jobs.c.status == "running")
    conn.execute(update(jobs).where(*mine).values(status="queued", attempts=jobs.c.attempts - 1, worker=None, lease_until=None))


def forget(conn: Connection, owner: str, ids: Collection[str]) -> list[str]:
    """Delete those of these jobs that are finished, with their idempotency keys; return their ids."""
    mine = (jobs.c.owner == owner, jobs.c.id.in_(ids), jobs.c.status.in_(FINISHED))
    finished = list(conn.scalars(select(jobs.c.id).where(*mine)))
    conn.execute(delete(jobs).where(jobs.c.owner == owner, jobs.c.id.in_(finished)))
    conn.execute(delete(keys).where(keys.c.owner == owner, keys.c.target.in_(finished)))
    return finished


def finished_before(conn: Connection, before: datetime, limit: int) -> list[tuple[str, str]]:
    """Return owner and id of up to `limit` jobs that finished before a time."""
    query = select(jobs.c.owner, jobs.c.id).where(jobs.c.finished_at < before).limit(limit)
    return [(row.owner, row.id) for row in conn.execute(query)]


def over_after(conn: Connection, after: datetime) -> list[tuple[str, str]]:
    """Return id and owner of jobs with a finish time after `after`, which is in the future: their clock was wrong."""
    query = select(jobs.c.id, jobs.c.owner).where(jobs.c.finished_at > after)
    return [(row.id, row.owner) for row in conn.execute(query)]


def delete_expired(conn: Connection, before: datetime) -> int:
    """Delete jobs that finished before a time, and idempotency keys of that age; keep records. Return the number of jobs."""
    old = conn.execute(delete(jobs).where(jobs.c.finished_at < before)).rowcount
    conn.execute(delete(keys).where(keys.c.created_at < before))
    return old


def _visible(owner: str) -> Select[Any]:
    return select(*_COLUMNS).where(jobs.c.owner == owner, jobs.c.status != UPLOADING)


def _job(row: Any) -> Job:
    return Job(**{name: getattr(row, name) for name in _NAMES})
