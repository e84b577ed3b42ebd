"""Sample the server's own metrics periodically: memory, descriptors, CPU and GPU."""

from __future__ import annotations

import asyncio
import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from hunyuanocr.loadtest.stats import RunStats, Sample
from hunyuanocr.loadtest.traffic import Target

_SUMS = ("resident_memory_bytes", "open_fds", "cpu_seconds_total")  # of the server and the processes of an engine


async def sample_metrics(target: Target, stats: RunStats, interval_s: float, end: asyncio.Event) -> None:
    """Append a Sample at an interval until `end`. Failed samples are left out; the traffic reports a server that is down."""
    started_at, before = time.monotonic(), (0.0, 0.0)
    async with httpx.AsyncClient(base_url=target.url, headers=target.headers, timeout=30.0) as client:
        while not end.is_set():
            at = time.monotonic() - started_at
            try:
                metrics = parse_metrics((await client.get("/metrics")).raise_for_status().text)
            except (httpx.HTTPError, ValueError):
                metrics = {}
            if "process_resident_memory_bytes" in metrics:
                memory, fds, cpu = (metrics[f"process_{n}"] + metrics.get(f"hunyuanocr_children_{n}", 0.0) for n in _SUMS)
                rate = (cpu - before[1]) / (at - before[0]) if stats.samples else None
                before = at, cpu
                stats.samples.append(
                    Sample(
                        at,
                        len(stats.at),
                        memory,
                        fds,
                        rate,
                        metrics.get("hunyuanocr_gpu_utilization_ratio"),
                        metrics.get("hunyuanocr_gpu_memory_used_bytes"),
                    )
                )
            try:
                async with asyncio.timeout(interval_s):
                    await end.wait()
            except TimeoutError:
                continue


def parse_metrics(text: str) -> dict[str, float]:
    """Return metrics by name, summed over labels; for the GPU utilization, the maximum."""
    metrics: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "hunyuanocr_gpu_utilization_ratio":
                metrics[sample.name] = max(metrics.get(sample.name, 0.0), sample.value)
            else:
                metrics[sample.name] = metrics.get(sample.name, 0.0) + sample.value
    return metrics
