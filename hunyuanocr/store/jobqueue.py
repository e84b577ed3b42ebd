"""The order of queued jobs, fair between clients, and how many may wait.

Every job has a `turn`, a number at which its client is served: one more than that of the client's job before it, and never less
than where the queue stands (start-time fair queueing: P. Goyal and others, SIGCOMM 1996, with jobs of equal cost). So jobs of
clients alternate, whatever each has queued, and the next job is the one with the lowest turn: one look into an index. Which of
its client's jobs takes the turn is the client's choice, by `priority`. A client is named by the job's `fair_key`.
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
WAITING = (QUEUED, "running", "arriving")  # what counts against the bounds
_SHARE = 10  # who has less than a tenth of the queue is accepted beyond its bounds
_MAX_COUNT = 2  # times the bounds, however many clients there are
_FACT = "jobs_turn"


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait: jobs, and bytes of their pictures; and what those hear who come too many, in seconds.

    A client that fills the queue does not shut the others out: who has less than a tenth of it is accepted beyond the bounds, up
    to twice as much in all.
    """

    jobs: int
    bytes: int
    retry_after: float = 5.0


def check_capacity(conn: Connection, fair_key: str, count: int, size: int, limits: QueueLimits) -> None:
    """Raise QueueFull unless this client may have so many more jobs with so many bytes waiting."""
    there, used = _waiting(conn)
    if there + count <= limits.jobs and used + size <= limits.bytes:
        return
    if there + count <= _MAX_COUNT * limits.jobs and used + size <= _MAX_COUNT * limits.bytes:
        own, own_used = _waiting(conn, fair_key)
        if own + count <= limits.jobs // _SHARE and own_used + size <= limits.bytes // _SHARE:
            return
    if there + count > limits.jobs:
        raise QueueFull(f"{there} jobs are waiting already; {limits.jobs} may.", retry_after=limits.retry_after)
    raise QueueFull(f"Jobs with {used} bytes are waiting already; {limits.bytes} may.", retry_after=limits.retry_after)


def _waiting(conn: Connection, fair_key: str | None = None) -> tuple[int, int]:
    """How many jobs wait, and their bytes."""
    query = select(func.count(), func.coalesce(func.sum(jobs.c.size), 0)).where(jobs.c.status.in_(WAITING))
    row = conn.execute(query if fair_key is None else query.where(jobs.c.fair_key == fair_key)).one()
    return int(row[0]), int(row[1])


def next_turn(conn: Connection, fair_key: str, *, without_batch: str | None = None) -> int:
    """The turn of this client's next job; of all its jobs, or of those that do not belong to a batch."""
    own = select(func.max(jobs.c.turn)).where(jobs.c.fair_key == fair_key)
    if without_batch is not None:
        own = own.where(or_(jobs.c.batch_id.is_(None), jobs.c.batch_id != without_batch))
    latest, now = conn.scalar(own), _now(conn)
    return now if latest is None else max(now, int(latest) + 1)


def _now(conn: Connection) -> int:
    """The turn of the job that was taken last: where the queue stands."""
    return int(state.get_state(conn, _FACT) or 0)


def reschedule_batch(conn: Connection, fair_key: str, batch_id: str) -> None:
    """Move the turns of a batch that has arrived to where the queue stands now: while it was written, others were served."""
    mine = (jobs.c.batch_id == batch_id, jobs.c.fair_key == fair_key)
    first = conn.scalar(select(func.min(jobs.c.turn)).where(*mine))
    late = 0 if first is None else next_turn(conn, fair_key, without_batch=batch_id) - int(first)
    if late:
        conn.execute(update(jobs).where(*mine).values(turn=jobs.c.turn + late))


def take_next(conn: Connection, *, suspects: bool) -> str | None:
    """The id of the job that is next, locked; None when there is none. Its client's earliest turn is its own from now on."""
    query = select(jobs.c.id, jobs.c.fair_key, jobs.c.attempts, jobs.c.turn).where(jobs.c.status == QUEUED)
    if not suspects:
        query = query.where(jobs.c.attempts == 0)
    query = query.order_by(jobs.c.attempts, jobs.c.turn, jobs.c.id).limit(1)
    front = conn.execute(query.with_for_update(skip_locked=True)).one_or_none()
    if front is None:
        return None
    if front.turn > _now(conn):
        state.replace(conn, _FACT, front.turn)
    best = _preferred(conn, front.fair_key, front.attempts)
    if best is None or best.id == front.id:
        return str(front.id)
    conn.execute(update(jobs).where(jobs.c.id == front.id).values(turn=best.turn))
    conn.execute(update(jobs).where(jobs.c.id == best.id).values(turn=front.turn))
    return str(best.id)


def _preferred(conn: Connection, fair_key: str, attempts: int) -> Any:
    """Of this client's jobs the one with the highest priority, of those the oldest. Two looks into an index."""
    own = (jobs.c.status == QUEUED, jobs.c.fair_key == fair_key, jobs.c.attempts == attempts)
    top = conn.scalar(select(func.max(jobs.c.priority)).where(*own))
    query = select(jobs.c.id, jobs.c.turn).where(*own, jobs.c.priority == top).order_by(jobs.c.id).limit(1)
    return conn.execute(query.with_for_update(skip_locked=True)).one_or_none()


def queue_position(conn: Connection, id: str) -> int:
    """How many queued jobs come before this one, unless another client sends some meanwhile."""
    me = conn.execute(select(jobs.c.fair_key, jobs.c.attempts, jobs.c.priority).where(jobs.c.id == id)).one()
    own = (jobs.c.status == QUEUED, jobs.c.fair_key == me.fair_key, jobs.c.attempts == me.attempts)
    sooner = or_(jobs.c.priority > me.priority, and_(jobs.c.priority == me.priority, jobs.c.id < id))
    rank = conn.scalar(select(func.count()).where(*own, sooner)) or 0
    turns = select(jobs.c.turn, jobs.c.id).where(*own).order_by(jobs.c.turn + 0, jobs.c.id)  # + 0: by the index of its client
    mine = conn.execute(turns.offset(rank).limit(1)).one_or_none()
    if mine is None:  # it was taken meanwhile
        return 0
    earlier = or_(jobs.c.turn < mine.turn, and_(jobs.c.turn == mine.turn, jobs.c.id < mine.id))
    before = or_(jobs.c.attempts < me.attempts, and_(jobs.c.attempts == me.attempts, earlier))
    return conn.scalar(select(func.count()).where(jobs.c.status == QUEUED, before)) or 0


def numbered(first: int, readable: Collection[bool]) -> list[int]:
    """Turns from `first` on, one for each job that will be read; the others, which have failed already, use up none."""
    turns, now = [], first - 1
    for one in readable:
        now += one
        turns.append(max(first, now))
    return turns
