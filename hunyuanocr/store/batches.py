"""Batches: jobs that were submitted together. Written in chunks to keep transactions short; visible once committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from hunyuanocr.store.jobqueue import QueueLimits, check_capacity, next_turn, numbered, reschedule_batch
from hunyuanocr.store.jobs import UPLOADING, IdempotencyKey, Job, find_idempotent, insert, lock
from hunyuanocr.store.tables import jobs, keys


def insert_chunk(conn: Connection, part: Sequence[tuple[Job, bytes | None]], limits: QueueLimits) -> None:
    """Write some jobs of a batch, invisible until `commit_batch`. A job without bytes has already failed. Raises QueueFull."""
    if not part:
        return
    lock(conn)
    fair_key = part[0][0].fair_key or part[0][0].owner
    readable = [data is not None for _, data in part]
    check_capacity(conn, fair_key, sum(readable), sum(len(data or b"") for _, data in part), limits)
    turns = numbered(next_turn(conn, fair_key), readable)
    for (job, data), turn in zip(part, turns, strict=True):
        insert(conn, replace(job, status=UPLOADING), data, turn)


def commit_batch(
    conn: Connection, owner: str, batch_id: str, now: datetime, key: IdempotencyKey | None = None
) -> tuple[str, bool]:
    """Accept a batch whose chunks are written; returns like `jobs.add`. If the key was used before, the chunks are deleted."""
    lock(conn)
    mine = (jobs.c.batch_id == batch_id, jobs.c.owner == owner, jobs.c.status == UPLOADING)
    if key is not None:
        if (before := find_idempotent(conn, owner, key)) is not None:
            conn.execute(delete(jobs).where(*mine))
            return before, False
        conn.execute(keys.insert().values(owner=owner, key=key.key, fingerprint=key.fingerprint, target=batch_id, created_at=now))
    if (fair_key := conn.scalar(select(jobs.c.fair_key).where(*mine).limit(1))) is not None:
        reschedule_batch(conn, fair_key, batch_id)
    conn.execute(update(jobs).where(*mine, jobs.c.error.is_(None)).values(status="queued"))
    conn.execute(update(jobs).where(*mine).values(status="failed", finished_at=now, params={}))
    return batch_id, True


def drop_batch(conn: Connection, batch_id: str) -> None:
    """Delete the chunks of a batch that was not accepted."""
    conn.execute(delete(jobs).where(jobs.c.batch_id == batch_id, jobs.c.status == UPLOADING))


def counts(conn: Connection, owner: str, batch_id: str) -> dict[str, int]:
    """Return the number of jobs of a batch by status; empty if this owner has no such batch."""
    query = select(jobs.c.status, func.count()).where(
        jobs.c.owner == owner, jobs.c.batch_id == batch_id, jobs.c.status != UPLOADING
    )
    return {str(row[0]): int(row[1]) for row in conn.execute(query.group_by(jobs.c.status))}


def forget_unfinished_batches(conn: Connection, before: datetime) -> None:
    """Delete chunks of batches that were never accepted; their clients got no response and will send them again."""
    conn.execute(delete(jobs).where(jobs.c.status == UPLOADING, jobs.c.created_at < before))
