"""Plots of a run: lines over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hunyuanocr.line_plot import Points, draw
from hunyuanocr.loadtest.stats import KINDS, RunStats

_BINS = 120


def draw_all(stats: RunStats, seconds: float, folder: Path) -> list[Path]:
    """Plot latency, throughput, memory, descriptors, CPU and GPU (if present); return the written files."""
    samples = stats.samples
    figures = {
        "latency": ("95th percentile of the response time, s", _latency(stats, seconds)),
        "throughput": ("responses per second", _throughput(stats, seconds)),
        "memory": ("server memory, MB", {"RSS": [(s.at, s.rss / 1e6) for s in samples]}),
        "descriptors": ("open file descriptors", {"descriptors": [(s.at, s.fds) for s in samples]}),
        "cpu": ("CPU, cores in use", {"CPU": [(s.at, s.cpu) for s in samples if s.cpu is not None]}),
        "gpu": ("GPU utilization, 0–1", {"GPU": [(s.at, s.gpu) for s in samples if s.gpu is not None]}),
        "gpu-memory": ("GPU memory, GB", {"GPU": [(s.at, s.gpu_memory / 1e9) for s in samples if s.gpu_memory is not None]}),
    }  # fmt: skip
    written = []
    for name, (title, lines) in figures.items():
        if any(len(points) > 1 for points in lines.values()):
            written.append(folder / f"{name}.png")
            draw(title, lines, seconds, written[-1], _clock)
    return written


def _bins(seconds: float) -> Any:
    return np.linspace(0.0, seconds, _BINS + 1)


def _latency(stats: RunStats, seconds: float) -> Mapping[str, Points]:
    at, elapsed, kind = stats.columns()
    edges = _bins(seconds)
    bins = np.digitize(at, edges) - 1
    lines = {}
    for n, name in enumerate(KINDS):
        values_at = [(float(edges[b]), elapsed[(bins == b) & (kind == n)]) for b in range(_BINS)]
        lines[name] = [(x, float(np.percentile(values, 95))) for x, values in values_at if len(values)]
    return lines


def _throughput(stats: RunStats, seconds: float) -> Mapping[str, Points]:
    at, _, kind = stats.columns()
    edges = _bins(seconds)
    width = seconds / _BINS
    counts = {name: np.histogram(at[kind == n], edges)[0] / width for n, name in enumerate(KINDS)}
    return {name: list(zip(edges.tolist(), count.tolist(), strict=False)) for name, count in counts.items()}


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
