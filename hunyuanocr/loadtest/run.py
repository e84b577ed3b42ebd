"""One run: traffic and measurement until the time is up or Ctrl-C, then the report."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from hunyuanocr import __version__
from hunyuanocr.loadtest.plots import draw_all
from hunyuanocr.loadtest.report import report
from hunyuanocr.loadtest.sampler import sample_metrics
from hunyuanocr.loadtest.stats import RunStats
from hunyuanocr.loadtest.traffic import Target, Traffic

_MAX_SAMPLES = 1500  # per run
_REPORT_INTERVAL_S = 10.0


async def run(target: Target, seconds: float, on_progress: Callable[[str], None]) -> tuple[RunStats, float]:
    """Run the load test; return its statistics and its duration in seconds. Ctrl-C ends it early."""
    stats, end, started_at = RunStats(), asyncio.Event(), time.monotonic()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # not available in other threads
        loop.add_signal_handler(signal.SIGINT, end.set)
    timer = loop.call_later(seconds, end.set)
    try:
        await asyncio.gather(
            Traffic(target, stats).run(end),
            sample_metrics(target, stats, max(1.0, seconds / _MAX_SAMPLES), end),
            _report_progress(stats, on_progress, end),
        )
    finally:
        timer.cancel()
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGINT)
    return stats, time.monotonic() - started_at


async def _report_progress(stats: RunStats, on_progress: Callable[[str], None], end: asyncio.Event) -> None:
    while not end.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_REPORT_INTERVAL_S):
                await end.wait()
        if stats.samples:
            last = stats.samples[-1]
            failed = sum(stats.failed.values())
            usage = f"{last.rss / 1e6:.0f} MB, {last.fds:.0f} descriptors"
            on_progress(f"{last.at:,.0f} s: {len(stats.at):,} responses, {failed} failed, {usage}")


def write(stats: RunStats, seconds: float, target: Target, folder: Path) -> dict[str, Any]:
    """Write report.json and the plots to `folder`; return the report."""
    content = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": __version__,
        "server": target.url,
        "serves": _version(target),
    } | report(stats, seconds)
    content["pictures"] = [file.name for file in draw_all(stats, seconds, folder)]
    (folder / "report.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return content


def _version(target: Target) -> dict[str, Any] | None:
    try:
        version: dict[str, Any] = httpx.get(f"{target.url}/version", headers=target.headers, timeout=30.0).json()
    except (httpx.HTTPError, ValueError):
        return None
    return version
