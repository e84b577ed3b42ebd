"""Queued jobs: `service` accepts them and reports their state, `worker` reads them, `events` connects the two."""

from hunyuanocr.services.jobs.events import JobEvents
from hunyuanocr.services.jobs.service import JobService, JobView
from hunyuanocr.services.jobs.worker import JobWorkers

__all__ = ["JobEvents", "JobService", "JobView", "JobWorkers"]
