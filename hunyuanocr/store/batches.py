"""Batches: jobs that were sent together. They are written in parts, so that no transaction is long, and seen when all are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, select, update

from hunyuanocr.store.jobqueue import Bounds, make_room, next_turn, numbered, reschedule_batch
from hunyuanocr.store.jobs import ARRIVING, Job, Key, earlier, insert, lock
from hunyuanocr.store.jobtables import jobs, keys


def add_part(session: Connection, part: Sequence[tuple[Job, bytes | None]], bounds: Bounds) -> None:
    """Write some jobs of a batch, which nobody sees before `open_batch`. One without bytes has failed already."""
    if not part:
        return
    lock(session)
    fair_key = part[0][0].fair_key or part[0][0].owner
    readable = [data is not None for _, data in part]
    make_room(session, fair_key, sum(readable), sum(len(data or b"") for _, data in part), bounds)
    turns = numbered(next_turn(session, fair_key), readable)
    for (job, data), turn in zip(part, turns, strict=True):
        insert(session, replace(job, status=ARRIVING), data, turn)


def open_batch(session: Connection, owner: str, batch_id: str, now: datetime, key: Key | None = None) -> tuple[str, bool]:
    """Accept the batch whose parts have been written; as `add`. The parts are gone when the key was used before."""
    lock(session)
    mine = (jobs.c.batch_id == batch_id, jobs.c.owner == owner, jobs.c.status == ARRIVING)
    if key is not None:
        if (before := earlier(session, owner, key)) is not None:
            session.execute(delete(jobs).where(*mine))
            return before, False
        session.execute(keys.insert().values(
            owner=owner, key=key.key, fingerprint=key.fingerprint, target=batch_id, created_at=now
        ))  # fmt: skip
    if (fair_key := session.scalar(select(jobs.c.fair_key).where(*mine).limit(1))) is not None:
        reschedule_batch(session, fair_key, batch_id)
    session.execute(update(jobs).where(*mine, jobs.c.error.is_(None)).values(status="queued"))
    session.execute(update(jobs).where(*mine).values(status="failed", finished_at=now, wanted={}))
    return batch_id, True


def drop_batch(session: Connection, batch_id: str) -> None:
    """Forget the parts of a batch that was not accepted."""
    session.execute(delete(jobs).where(jobs.c.batch_id == batch_id, jobs.c.status == ARRIVING))


def counts(session: Connection, owner: str, batch_id: str) -> dict[str, int]:
    """How many jobs of a batch are in which state; empty when there is no such batch of this owner's."""
    query = select(jobs.c.status, func.count()).where(
        jobs.c.owner == owner, jobs.c.batch_id == batch_id, jobs.c.status != ARRIVING
    )
    return {str(row[0]): int(row[1]) for row in session.execute(query.group_by(jobs.c.status))}


def forget_unfinished_batches(session: Connection, before: datetime) -> None:
    """Parts of batches that were never accepted: their client was told nothing, and sends them again."""
    session.execute(delete(jobs).where(jobs.c.status == ARRIVING, jobs.c.created_at < before))
