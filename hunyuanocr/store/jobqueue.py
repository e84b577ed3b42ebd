"""Order of queued jobs, fair between clients, and limits of the queue.

Every job has a `turn`, a virtual start time: one more than that of the client's previous job, and at least the current virtual
time of the queue (start-time fair queueing: P. Goyal et al., SIGCOMM 1996, with jobs of equal cost). Jobs of different clients
therefore alternate, however many each has queued, and the next job is the one with the lowest turn: one index lookup. Which of
its jobs a client uses the turn for depends on `priority`. A client is identified by the job's `fair_key`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, update

from hunyuanocr.errors import QueueFull
from hunyuanocr.store import state
from hunyuanocr.store.tables import jobs

QUEUED = "queued"
WAITING = (QUEUED, "running", "arriving")  # statuses that count against the limits
_SHARE = 10  # a client with less than a tenth of the queue may exceed the limits
_MAX_EXCESS = 2  # total limit, as a multiple of the limits
_STATE = "jobs_turn"  # key of the state


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue: number of jobs, bytes of their files, and the retry delay of refused clients in seconds.

    A client that fills the queue does not exclude others: a client with less than a tenth of it may exceed the limits, up to
    twice the limits in total.
    """

    jobs: int
    bytes: int
    retry_after: float = 5.0


def check_capacity(conn: Connection, fair_key: str, count: int, size: int, limits: QueueLimits) -> None:
    """Raise QueueFull if this client cannot queue `count` more jobs with `size` bytes in total."""
    queued, used = _waiting(conn)
    if queued + count <= limits.jobs and used + size <= limits.bytes:
        return
    if queued + count <= _MAX_EXCESS * limits.jobs and used + size <= _MAX_EXCESS * limits.bytes:
        own, own_used = _waiting(conn, fair_key)
        if own + count <= limits.jobs // _SHARE and own_used + size <= limits.bytes // _SHARE:
            return
    if queued + count > limits.jobs:
        raise QueueFull(f"{queued} jobs are waiting; the limit is {limits.jobs}.", retry_after=limits.retry_after)
    raise QueueFull(f"Jobs with {used} bytes are waiting; the limit is {limits.bytes} bytes.", retry_after=limits.retry_after)


def _waiting(conn: Connection, fair_key: str | None = None) -> tuple[int, int]:
    """Return the number of waiting jobs and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(jobs.c.size), 0)).where(jobs.c.status.in_(WAITING))
    row = conn.execute(query if fair_key is None else query.where(jobs.c.fair_key == fair_key)).one()
    return int(row[0]), int(row[1])


def next_turn(conn: Connection, fair_key: str, *, without_batch: str | None = None) -> int:
    """Return the turn of this client's next job, optionally ignoring the jobs of one batch."""
    own = select(func.max(jobs.c.turn)).where(jobs.c.fair_key == fair_key)
    if without_batch is not None:
        own = own.where(or_(jobs.c.batch_id.is_(None), jobs.c.batch_id != without_batch))
    latest, now = conn.scalar(own), _now(conn)
    return now if latest is None else max(now, int(latest) + 1)


def _now(conn: Connection) -> int:
    """Return the turn of the job that was taken last: the current virtual time of the queue."""
    return int(state.get_state(conn, _STATE) or 0)


def reschedule_batch(conn: Connection, fair_key: str, batch_id: str) -> None:
    """Move the turns of a completed batch to the current virtual time: other jobs were taken while it was written."""
    mine = (jobs.c.batch_id == batch_id, jobs.c.fair_key == fair_key)
    first = conn.scalar(select(func.min(jobs.c.turn)).where(*mine))
    late = 0 if first is None else next_turn(conn, fair_key, without_batch=batch_id) - int(first)
    if late:
        conn.execute(update(jobs).where(*mine).values(turn=jobs.c.turn + late))


def take_next(conn: Connection, *, suspects: bool) -> str | None:
    """Return the id of the next job, locked; None if the queue is empty. The job gets its client's lowest turn."""
    query = select(jobs.c.id, jobs.c.fair_key, jobs.c.attempts, jobs.c.turn).where(jobs.c.status == QUEUED)
    if not suspects:
        query = query.where(jobs.c.attempts == 0)
    query = query.order_by(jobs.c.attempts, jobs.c.turn, jobs.c.id).limit(1)
    front = conn.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if front is None:
        return None
    if front.turn > _now(conn):
        state.set_state(conn, _STATE, front.turn)
    best = _preferred(conn, front.fair_key, front.attempts)
    if best is None or best.id == front.id:
        return str(front.id)
    conn.execute(update(jobs).where(jobs.c.id == front.id).values(turn=best.turn))
    conn.execute(update(jobs).where(jobs.c.id == best.id).values(turn=front.turn))
    return str(best.id)


def _preferred(conn: Connection, fair_key: str, attempts: int) -> Any:
    """Return this client's oldest job of the highest priority. Two index lookups."""
    own = (jobs.c.status == QUEUED, jobs.c.fair_key == fair_key, jobs.c.attempts == attempts)
    top = conn.scalar(select(func.max(jobs.c.priority)).where(*own))
    query = select(jobs.c.id, jobs.c.turn).where(*own, jobs.c.priority == top).order_by(jobs.c.id).limit(1)
    return conn.execute(query.with_for_update(skip_locked=True)).one_or_none()


def queue_position(conn: Connection, id: str) -> int:
    """Return the number of queued jobs before this one, if no other client submits jobs in the meantime."""
    this = conn.execute(select(jobs.c.fair_key, jobs.c.attempts, jobs.c.priority).where(jobs.c.id == id)).one()
    own = (jobs.c.status == QUEUED, jobs.c.fair_key == this.fair_key, jobs.c.attempts == this.attempts)
    sooner = or_(jobs.c.priority > this.priority, and_(jobs.c.priority == this.priority, jobs.c.id < id))
    rank = conn.scalar(select(func.count()).where(*own, sooner)) or 0
    turns = select(jobs.c.turn, jobs.c.id).where(*own).order_by(jobs.c.turn + 0, jobs.c.id)  # + 0: use the client's index
    mine = conn.execute(turns.offset(rank).limit(1)).one_or_none()
    if mine is None:  # it was taken in the meantime
        return 0
    earlier = or_(jobs.c.turn < mine.turn, and_(jobs.c.turn == mine.turn, jobs.c.id < mine.id))
    before = or_(jobs.c.attempts < this.attempts, and_(jobs.c.attempts == this.attempts, earlier))
    return conn.scalar(select(func.count()).where(jobs.c.status == QUEUED, before)) or 0


def numbered(first: int, readable: Collection[bool]) -> list[int]:
    """Return turns from `first` on, one per readable job; jobs that have already failed do not use up a turn."""
    turns, now = [], first - 1
    for one in readable:
        now += one
        turns.append(max(first, now))
    return turns
