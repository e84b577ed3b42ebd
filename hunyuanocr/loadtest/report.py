"""Metrics and verdicts of a run.

Limits: memory grows by at most 1 MB per 1,000 requests after the warm-up; descriptors do not grow; the 95th percentile of OCR
requests in the last tenth of the time is at most 10 % above that of the first; nothing fails. The verdict is None if a run is too
short to judge.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hunyuanocr.loadtest.stats import KINDS, RunStats, Sample

SLOPE_MB = 1.0  # per 1,000 requests
FDS = 2  # connections that are being closed
RATIO = 1.10
_WARM_UP = 0.1  # share of the time
_MIN_REQUESTS = 1000  # for a slope
_MIN_PER_TENTH = 30  # requests


def report(stats: RunStats, seconds: float) -> dict[str, Any]:
    """Return the report, except for place and time."""
    at, elapsed, kind = stats.columns()
    warm = [sample for sample in stats.samples if sample.at >= _WARM_UP * seconds]
    latency = latency_drift(at[kind == 0], elapsed[kind == 0], seconds)
    slope, fds = memory_slope(warm), fd_growth(warm)
    failed = sum(stats.failed.values())
    verdicts = {
        "nothing_failed": failed == 0 and len(at) > 0,
        "memory": None if slope is None else slope <= SLOPE_MB,
        "descriptors": None if fds is None else fds["growth"] <= FDS,
        "latency": None if latency is None else latency["ratio"] <= RATIO,
    }
    return {
        "seconds": round(seconds, 1), "requests": {name: _kind(stats, name, elapsed[kind == n]) for n, name in enumerate(KINDS)},
        "requests_per_s": round(len(at) / seconds, 2), "totals_read_right": [stats.right, stats.asked],
        "memory_mb_per_1000_requests": slope, "memory_mb": _extremes([s.rss / 1e6 for s in warm]), "descriptors": fds,
        "p95_first_and_last_tenth": latency, "verdicts": verdicts, "first_failures": stats.first_failures,
        "passed": all(verdict is not False for verdict in verdicts.values()), "samples": stats.to_dict(),
    }  # fmt: skip


def _kind(stats: RunStats, name: str, elapsed: Any) -> dict[str, Any]:
    summary: dict[str, Any] = {"answered": len(elapsed), "refused": stats.refused[name], "failed": stats.failed[name]}
    if len(elapsed):
        summary |= {f"p{q}_s": round(float(np.percentile(elapsed, q)), 4) for q in (50, 95, 99)}
    return summary


def _extremes(values: list[float]) -> list[float] | None:
    """Return the first, the last and the largest value."""
    return [round(values[0], 1), round(values[-1], 1), round(max(values), 1)] if values else None


def memory_slope(warm: list[Sample]) -> float | None:
    """Return MB per 1,000 requests by least squares; None for too few requests."""
    if len(warm) < 10 or warm[-1].requests - warm[0].requests < _MIN_REQUESTS:
        return None
    requests, rss = np.array([s.requests for s in warm]), np.array([s.rss for s in warm])
    return round(float(np.polyfit(requests / 1000, rss / 1e6, 1)[0]), 3)


def fd_growth(warm: list[Sample]) -> dict[str, int] | None:
    """Compare the minima of the first and the last third: temporary descriptors vary, leaked ones accumulate."""
    third = len(warm) // 3
    if third < 2:
        return None
    first, last = (int(min(s.fds for s in part)) for part in (warm[:third], warm[-third:]))
    return {"first_third": first, "last_third": last, "growth": last - first}


def latency_drift(at: Any, elapsed: Any, seconds: float) -> dict[str, float] | None:
    """Compare the 95th percentiles of the first tenth after the warm-up and of the last one; None for too few requests."""
    start = _WARM_UP * seconds
    width = (seconds - start) / 10
    first, last = elapsed[(at >= start) & (at < start + width)], elapsed[at >= seconds - width]
    if min(len(first), len(last)) < _MIN_PER_TENTH:
        return None
    before, after = (float(np.percentile(part, 95)) for part in (first, last))
    return {"first_s": round(before, 4), "last_s": round(after, 4), "ratio": round(after / before, 3)}
