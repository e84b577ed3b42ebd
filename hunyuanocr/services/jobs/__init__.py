"""Queued jobs: the desk accepts them and tells how they stand, the hands read them."""

from hunyuanocr.services.jobs.service import JobService, JobView
from hunyuanocr.services.jobs.worker import JobWorkers

__all__ = ["JobService", "JobView", "JobWorkers"]
