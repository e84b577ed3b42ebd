"""How things stand at the moment: queue, cache, reader, jobs, sync, cameras, disk, processes, GPU."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from hunyuanocr import __version__
from hunyuanocr.backends.base import Health
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.services.metrics import gpu
from hunyuanocr.services.sync import SyncState
from hunyuanocr.store import jobs

if TYPE_CHECKING:
    from hunyuanocr.services.container import Services

log = logging.getLogger(__name__)

_TIMEOUT_S = 2.0  # with the database; monitors give up after ten


@dataclass(frozen=True)
class Snapshot:
    """What must be waited for. `stored` is None where nothing is kept, False where the database does not answer."""

    ready: bool
    engine: Health
    stored: bool | None = None
    jobs: Mapping[str, int] = field(default_factory=dict)
    sync: SyncState | None = None


async def take_snapshot(services: Services) -> Snapshot:
    """Ask the reader and the database. Takes two seconds at most, and raises nothing of ours."""
    pipeline, database = services.pipeline, services.database
    ready, engine = (await pipeline.health()).ready, await pipeline.backend.health()
    if database is None:
        return Snapshot(ready, engine)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            counted = await database.read(jobs.by_status)
            sync = None if services.sync is None else await services.sync.state()
    except (HunyuanOcrError, TimeoutError) as e:
        log.debug("The monitor is told that the database does not answer: %s", e)
        return Snapshot(ready, engine, stored=False)
    return Snapshot(ready, engine, True, counted, sync)


def collect(services: Services, present: Snapshot) -> Iterator[Metric]:
    """All of it. Blocking for some milliseconds: the disk and the GPU are asked."""
    yield from _reader(services, present)
    yield from _pipeline(services)
    yield from _kept(services, present)
    yield from _cameras(services)
    yield from _disk(services.data)
    yield from _children()
    yield from gpu.collect()


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hunyuanocr_{name}", meaning, value=value)


def _counted(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"hunyuanocr_{name}", meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _reader(services: Services, present: Snapshot) -> Iterable[Metric]:
    backend = services.pipeline.backend
    about = {"version": __version__, "backend": backend.name.value, "model": backend.model}
    yield InfoMetricFamily("hunyuanocr_build", "What runs here.", value=about)
    yield _gauge("reader_ready", "1 while a request sent now would be read.", present.ready)
    yield _gauge("engine_up", "1 while the reader's engine answers; with vLLM, the process of its server.", present.engine.ready)
    restarts = "Times that the engine's process was started again after it had ended."
    yield CounterMetricFamily("hunyuanocr_engine_restarts", restarts, value=present.engine.restarts)


def _pipeline(services: Services) -> Iterable[Metric]:
    pipeline = services.pipeline
    yield _gauge("queue_length", "Requests that wait for the reader.", pipeline.admission.waiting)
    yield _gauge("queue_capacity", "Requests that may wait.", pipeline.admission.queue_capacity)
    yield _gauge("readings_running", "Requests that are being read.", pipeline.admission.running)
    yield _gauge("reader_concurrency", "Requests that the reader reads at a time.", pipeline.concurrency)
    yield _gauge("cache_entries", "Results in the cache.", len(pipeline.cache))
    yield _gauge("cache_bytes", "Memory of the results in the cache.", pipeline.cache.used)


def _kept(services: Services, present: Snapshot) -> Iterable[Metric]:
    if present.stored is None:
        return
    yield _gauge("store_up", "1 while the database answers.", present.stored)
    for name, meaning, counts in (
        ("jobs_ended", "Jobs that this process has read.", services.job_counts),
        ("webhooks", "Attempts to deliver webhooks.", services.webhook_counts),
    ):
        yield _counted(name, meaning, "outcome", counts)
    if present.jobs:
        family = GaugeMetricFamily("hunyuanocr_jobs", "Jobs in the database by their state.", labels=["status"])
        for status, count in present.jobs.items():
            family.add_metric([status], count)
        yield family
    if present.sync is not None:
        yield from _sync(services, present.sync)


def _sync(services: Services, sync: SyncState) -> Iterable[Metric]:
    yield _gauge("sync_waiting_records", "Records that HQ has not got yet.", sync.waiting)
    lag = 0.0 if sync.oldest is None else max(0.0, (services.recorder.now() - sync.oldest).total_seconds())
    yield _gauge("sync_lag_seconds", "Age of the oldest record that HQ has not got yet.", lag)
    yield _gauge("sync_failing", "1 while HQ does not take what is sent.", sync.last_error is not None)
    if sync.last_success is not None:
        when = sync.last_success.timestamp()
        yield _gauge("sync_last_success_timestamp_seconds", "When HQ had everything the last time.", when)


def _cameras(services: Services) -> Iterable[Metric]:
    yield _gauge("cameras_connected", "Cameras that are connected.", services.cameras.sessions.open)
    yield _counted("frames", "Frames of cameras that were answered.", "outcome", services.cameras.counts)


def _disk(folder: Path) -> Iterable[Metric]:
    while not folder.exists() and folder != folder.parent:  # it is made when something is kept
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return
    yield _gauge("disk_free_bytes", "Free space on the disk of the data folder.", usage.free)
    yield _gauge("disk_size_bytes", "Size of that disk.", usage.total)


def _children() -> Iterable[Metric]:
    """What the engine takes where it is not in this process. Memory that several of its processes share is counted in each."""
    memory, cpu, open_files = 0, 0.0, 0
    for process in (children := psutil.Process().children(recursive=True)):
        with suppress(psutil.Error), process.oneshot():  # it has just ended
            memory += process.memory_info().rss
            times = process.cpu_times()
            cpu += times.user + times.system
            open_files += process.num_fds()
    if not children:
        return
    yield _gauge("children_resident_memory_bytes", "Memory of the processes that the server has started: vLLM's.", memory)
    yield _gauge("children_open_fds", "Their open file descriptors.", open_files)
    yield CounterMetricFamily("hunyuanocr_children_cpu_seconds", "Their CPU time, of those that live.", value=cpu)
