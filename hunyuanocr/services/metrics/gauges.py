"""The current state of the appliance as gauges: queue, cache, backend, jobs, sync, cameras, disk, processes, GPU."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from hunyuanocr import __version__
from hunyuanocr.backends.base import Health
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.camera import CameraService
from hunyuanocr.services.metrics import gpu
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.sync import Sync, SyncState
from hunyuanocr.store import jobs
from hunyuanocr.store.database import Database

log = logging.getLogger(__name__)

_DATABASE_TIMEOUT_S = 2.0  # monitors give up after ten


class Monitored(Protocol):
    """What the metrics read of the running services. `data`: the data folder."""

    pipeline: Pipeline
    data: Path
    database: Database | None
    recorder: Recorder
    cameras: CameraService
    sync: Sync | None
    job_counts: Mapping[str, int]
    webhook_counts: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """Values that need a wait or the event loop.

    `stored`: None when the store is disabled, False when the database does not answer.
    """

    ready: bool
    engine: Health
    cache_entries: int
    cache_bytes: float
    stored: bool | None = None
    jobs: Mapping[str, int] = field(default_factory=dict)
    sync: SyncState | None = None


async def take_snapshot(services: Monitored) -> Snapshot:
    """Return the state of the backend and the database, after two seconds at most. Raises no HunyuanOcrError."""
    pipeline, database = services.pipeline, services.database
    ready, engine = (await pipeline.health()).ready, await pipeline.backend.health()
    snapshot = Snapshot(ready, engine, len(pipeline.cache), pipeline.cache.currsize)
    if database is None:
        return snapshot
    try:
        async with asyncio.timeout(_DATABASE_TIMEOUT_S):
            counted = await database.read(jobs.by_status)
            sync = None if services.sync is None else await services.sync.state()
    except (HunyuanOcrError, TimeoutError) as e:
        log.debug("The metrics report that the database does not answer: %s", e)
        return replace(snapshot, stored=False)
    return replace(snapshot, stored=True, jobs=counted, sync=sync)


def collect(services: Monitored, snapshot: Snapshot) -> Iterator[Metric]:
    """Yield all gauges. Blocking for some milliseconds, for the disk and the GPU."""
    yield from _backend(services, snapshot)
    yield from _pipeline(services, snapshot)
    yield from _store(services, snapshot)
    yield from _cameras(services)
    yield from _disk(services.data)
    yield from _children()
    yield from gpu.collect()


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hunyuanocr_{name}", help, value=value)


def _counter(name: str, help: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"hunyuanocr_{name}", help, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _backend(services: Monitored, snapshot: Snapshot) -> Iterable[Metric]:
    backend = services.pipeline.backend
    build = {"version": __version__, "backend": backend.name.value, "model": backend.model}
    yield InfoMetricFamily("hunyuanocr_build", "Version, backend and model.", value=build)
    yield _gauge("reader_ready", "1 while a new request would be read.", snapshot.ready)
    yield _gauge("engine_up", "1 while the backend's engine answers; with vLLM, its server process.", snapshot.engine.ready)
    restarts = "Restarts of the engine's process after it had ended."
    yield CounterMetricFamily("hunyuanocr_engine_restarts", restarts, value=snapshot.engine.restarts)


def _pipeline(services: Monitored, snapshot: Snapshot) -> Iterable[Metric]:
    pipeline = services.pipeline
    yield _gauge("queue_length", "Requests that wait for the backend.", pipeline.admission.waiting)
    yield _gauge("queue_capacity", "Maximum number of waiting requests.", pipeline.admission.queue_capacity)
    yield _gauge("readings_running", "Requests that are being read.", pipeline.admission.running)
    yield _gauge("reader_concurrency", "Requests that the backend reads at a time.", pipeline.concurrency)
    yield _gauge("cache_entries", "Results in the cache.", snapshot.cache_entries)
    yield _gauge("cache_bytes", "Memory of the results in the cache, in bytes.", snapshot.cache_bytes)


def _store(services: Monitored, snapshot: Snapshot) -> Iterable[Metric]:
    if snapshot.stored is None:
        return
    yield _gauge("store_up", "1 while the database answers.", snapshot.stored)
    for name, help, counts in (
        ("jobs_ended", "Jobs that this process has read.", services.job_counts),
        ("webhooks", "Attempts to deliver webhooks.", services.webhook_counts),
    ):
        yield _counter(name, help, "outcome", counts)
    if snapshot.jobs:
        family = GaugeMetricFamily("hunyuanocr_jobs", "Jobs in the database by their state.", labels=["status"])
        for status, count in snapshot.jobs.items():
            family.add_metric([status], count)
        yield family
    if snapshot.sync is not None:
        yield from _sync(services, snapshot.sync)


def _sync(services: Monitored, sync: SyncState) -> Iterable[Metric]:
    yield _gauge("sync_waiting_records", "Records that HQ has not received yet.", sync.waiting)
    lag = 0.0 if sync.oldest is None else max(0.0, (services.recorder.now() - sync.oldest).total_seconds())
    yield _gauge("sync_lag_seconds", "Age of the oldest record that HQ has not received yet.", lag)
    yield _gauge("sync_failing", "1 while HQ rejects records or cannot be reached.", sync.last_error is not None)
    if sync.last_success is not None:
        when = sync.last_success.timestamp()
        yield _gauge("sync_last_success_timestamp_seconds", "Unix time at which HQ last had all records.", when)


def _cameras(services: Monitored) -> Iterable[Metric]:
    yield _gauge("cameras_connected", "Connected cameras.", services.cameras.sessions.open)
    yield _counter("frames", "Camera frames that were answered.", "outcome", services.cameras.counts)


def _disk(folder: Path) -> Iterable[Metric]:
    while not folder.exists() and folder != folder.parent:  # the folder is created with the first file
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return
    yield _gauge("disk_free_bytes", "Free space on the disk of the data folder.", usage.free)
    yield _gauge("disk_size_bytes", "Size of the disk of the data folder.", usage.total)


def _children() -> Iterable[Metric]:
    """Yield the resources of child processes, such as the vLLM server. Memory that several of them share counts for each."""
    memory, cpu, open_files = 0, 0.0, 0
    for process in (children := psutil.Process().children(recursive=True)):
        with suppress(psutil.Error), process.oneshot():  # the process has just ended
            memory += process.memory_info().rss
            times = process.cpu_times()
            cpu += times.user + times.system
            open_files += process.num_fds()
    if not children:
        return
    yield _gauge("children_resident_memory_bytes", "Memory of the child processes, such as the vLLM server.", memory)
    yield _gauge("children_open_fds", "Open file descriptors of the child processes.", open_files)
    yield CounterMetricFamily("hunyuanocr_children_cpu_seconds", "CPU time of the child processes that are running.", value=cpu)
