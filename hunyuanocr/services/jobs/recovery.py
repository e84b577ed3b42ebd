"""The jobs of dead workers: queued again, or failed after several crashes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Connection

from hunyuanocr.clock import Clock
from hunyuanocr.errors import BackendCrashed, HunyuanOcrError
from hunyuanocr.ids import new_id
from hunyuanocr.store import deliveries, jobs, leases
from hunyuanocr.store.jobs import Job
from hunyuanocr.store.leases import Lease

MAX_ATTEMPTS = 3  # of a job during which the process died or the backend failed


def fail_job(conn: Connection, job: Job, e: HunyuanOcrError, clock: Clock) -> bool:
    """Record the error of a job and the message about it. Return False if the job is not running any more."""
    error = {"code": e.code, "detail": e.message, "hint": e.hint}
    if not jobs.finish(conn, job, "failed", clock.now(), pages=None, error=error):
        return False
    deliveries.add(conn, replace(job, status="failed"), new_id(), clock.timer())
    return True


def recover_jobs(conn: Connection, worker: str | None, expired: Collection[Lease], clock: Clock) -> None:
    """Queue the jobs of dead workers again; one that was being read at `MAX_ATTEMPTS` crashes fails."""
    if worker is not None:
        deliveries.release_stale(conn, worker, clock.timer())
    for job in leases.find_orphaned(conn, worker, expired):
        if job.attempts >= MAX_ATTEMPTS:
            fail_job(conn, job, BackendCrashed(f"The process crashed {job.attempts} times while it read this image."), clock)
        else:
            jobs.requeue(conn, job, uncounted=False)
