"""One run: traffic and looks side by side until the time is over or a person says so, then the report."""

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

_SAMPLES = 1500  # of a run, at most
_TELL_S = 10.0


async def run(target: Target, seconds: float, tell: Callable[[str], None]) -> tuple[RunStats, float]:
    """What happened, and in how many seconds. Ctrl-C ends it early, with what there is."""
    tally, end, began = RunStats(), asyncio.Event(), time.monotonic()
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError, RuntimeError, ValueError):  # not in a thread
        loop.add_signal_handler(signal.SIGINT, end.set)
    timer = loop.call_later(seconds, end.set)
    try:
        await asyncio.gather(
            Traffic(target, tally).run(end),
            sample_metrics(target, tally, max(1.0, seconds / _SAMPLES), end),
            _telling(tally, tell, end),
        )
    finally:
        timer.cancel()
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGINT)
    return tally, time.monotonic() - began


async def _telling(tally: RunStats, tell: Callable[[str], None], end: asyncio.Event) -> None:
    while not end.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_TELL_S):
                await end.wait()
        if tally.samples:
            last = tally.samples[-1]
            failed = sum(tally.failed.values())
            took = f"{last.rss / 1e6:.0f} MB, {last.fds:.0f} descriptors"
            tell(f"{last.at:,.0f} s: {len(tally.at):,} answers, {failed} failed, {took}")


def write(tally: RunStats, seconds: float, target: Target, folder: Path) -> dict[str, Any]:
    """report.json and the pictures into `folder`; the report."""
    made = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"), "program": __version__, "server": target.url,
        "serves": _serves(target),
    } | report(tally, seconds)  # fmt: skip
    made["pictures"] = [file.name for file in draw_all(tally, seconds, folder)]
    (folder / "report.json").write_text(json.dumps(made, ensure_ascii=False, indent=1), encoding="utf-8")
    return made


def _serves(target: Target) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = httpx.get(f"{target.url}/version", headers=target.headers, timeout=30.0).json()
    except (httpx.HTTPError, ValueError):
        return None
    return found
