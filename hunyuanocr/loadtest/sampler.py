"""The server's own figures, every so often: what it takes of memory, descriptors, CPU and GPU."""

from __future__ import annotations

import asyncio
import time

import httpx
from prometheus_client.parser import text_string_to_metric_families

from hunyuanocr.loadtest.stats import RunStats, Sample
from hunyuanocr.loadtest.traffic import Target

_TAKEN = ("resident_memory_bytes", "open_fds", "cpu_seconds_total")  # by the server, and by an engine's processes


async def sample_metrics(target: Target, tally: RunStats, every_s: float, end: asyncio.Event) -> None:
    """A Sample every so many seconds until `end`. One that fails is missing; the traffic tells of a server that is away."""
    began, before = time.monotonic(), (0.0, 0.0)
    async with httpx.AsyncClient(base_url=target.url, headers=target.headers, timeout=30.0) as client:
        while not end.is_set():
            at = time.monotonic() - began
            try:
                found = parse_metrics((await client.get("/metrics")).raise_for_status().text)
            except (httpx.HTTPError, ValueError):
                found = {}
            if "process_resident_memory_bytes" in found:
                memory, fds, cpu = (found[f"process_{name}"] + found.get(f"hunyuanocr_children_{name}", 0.0) for name in _TAKEN)
                rate = (cpu - before[1]) / (at - before[0]) if tally.samples else None
                before = at, cpu
                tally.samples.append(Sample(
                    at, len(tally.at), memory, fds, rate,
                    found.get("hunyuanocr_gpu_utilization_ratio"), found.get("hunyuanocr_gpu_memory_used_bytes"),
                ))  # fmt: skip
            try:
                async with asyncio.timeout(every_s):
                    await end.wait()
            except TimeoutError:
                continue


def parse_metrics(text: str) -> dict[str, float]:
    """By name; of several GPUs the sum of memory and the busiest."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "hunyuanocr_gpu_utilization_ratio":
                found[sample.name] = max(found.get(sample.name, 0.0), sample.value)
            else:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
