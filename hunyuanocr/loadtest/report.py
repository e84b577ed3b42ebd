"""Numbers and verdicts of a run.

The bars: memory grows by at most 1 MB per 1,000 requests after the warm-up, descriptors do not grow, the 95th percentile of the
counter's requests in the last tenth of the time is at most 10 % above that of the first, and nothing fails. What a run was too
short to tell has the verdict None.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hunyuanocr.loadtest.stats import KINDS, RunStats, Sample

SLOPE_MB = 1.0  # per 1,000 requests
FDS = 2  # connections that are just being closed
RATIO = 1.10
_WARM = 0.1  # of the time
_REQUESTS = 1000  # fewer tell nothing about a slope
_TENTH = 30  # requests in a tenth


def report(tally: RunStats, seconds: float) -> dict[str, Any]:
    """Everything but where and when."""
    at, took, kind = tally.columns()
    warm = [sample for sample in tally.samples if sample.at >= _WARM * seconds]
    latency = latency_drift(at[kind == 0], took[kind == 0], seconds)
    slope, fds = memory_slope(warm), fd_growth(warm)
    failed = sum(tally.failed.values())
    verdicts = {
        "nothing_failed": failed == 0 and len(at) > 0,
        "memory": None if slope is None else slope <= SLOPE_MB,
        "descriptors": None if fds is None else fds["growth"] <= FDS,
        "latency": None if latency is None else latency["ratio"] <= RATIO,
    }
    return {
        "seconds": round(seconds, 1), "requests": {name: _kind(tally, name, took[kind == n]) for n, name in enumerate(KINDS)},
        "requests_per_s": round(len(at) / seconds, 2), "totals_read_right": [tally.right, tally.asked],
        "memory_mb_per_1000_requests": slope, "memory_mb": _most([s.rss / 1e6 for s in warm]), "descriptors": fds,
        "p95_first_and_last_tenth": latency, "verdicts": verdicts, "first_failures": tally.first_failures,
        "passed": all(verdict is not False for verdict in verdicts.values()), "samples": tally.to_dict(),
    }  # fmt: skip


def _kind(tally: RunStats, name: str, took: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"answered": len(took), "refused": tally.refused[name], "failed": tally.failed[name]}
    if len(took):
        found |= {f"p{q}_s": round(float(np.percentile(took, q)), 4) for q in (50, 95, 99)}
    return found


def _most(values: list[float]) -> list[float] | None:
    """The first, the last and the largest."""
    return [round(values[0], 1), round(values[-1], 1), round(max(values), 1)] if values else None


def memory_slope(warm: list[Sample]) -> float | None:
    """MB per 1,000 requests, by least squares; None where there were too few."""
    if len(warm) < 10 or warm[-1].requests - warm[0].requests < _REQUESTS:
        return None
    requests, rss = np.array([s.requests for s in warm]), np.array([s.rss for s in warm])
    return round(float(np.polyfit(requests / 1000, rss / 1e6, 1)[0]), 3)


def fd_growth(warm: list[Sample]) -> dict[str, int] | None:
    """The fewest in the first and in the last third: what is open in passing comes and goes, what leaks stays."""
    third = len(warm) // 3
    if third < 2:
        return None
    first, last = (int(min(s.fds for s in part)) for part in (warm[:third], warm[-third:]))
    return {"first_third": first, "last_third": last, "growth": last - first}


def latency_drift(at: Any, took: Any, seconds: float) -> dict[str, float] | None:
    """95th percentiles of the first tenth after the warm-up and of the last; None where too few requests came in them."""
    begin = _WARM * seconds
    width = (seconds - begin) / 10
    first, last = took[(at >= begin) & (at < begin + width)], took[at >= seconds - width]
    if min(len(first), len(last)) < _TENTH:
        return None
    before, after = (float(np.percentile(part, 95)) for part in (first, last))
    return {"first_s": round(before, 4), "last_s": round(after, 4), "ratio": round(after / before, 3)}
