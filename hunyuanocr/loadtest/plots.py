"""Plots of a run: lines over time, drawn with Pillow, which is a dependency already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hunyuanocr.loadtest.stats import KINDS, RunStats

WIDTH, HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 20, 44, 44
_COLOURS = ((200, 60, 40), (40, 90, 200), (30, 140, 70), (150, 90, 170))
_BINS = 120


@dataclass(frozen=True)
class Line:
    """A labelled series of points (seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]


def draw_all(stats: RunStats, seconds: float, folder: Path) -> list[Path]:
    """Plot latency, throughput, memory, descriptors, CPU and GPU (if present); return the written files."""
    samples = stats.samples
    figures = {
        "latency": ("95th percentile of the response time, s", _latency(stats, seconds)),
        "throughput": ("responses per second", _throughput(stats, seconds)),
        "memory": ("server memory, MB", [Line("RSS", [(s.at, s.rss / 1e6) for s in samples])]),
        "descriptors": ("open file descriptors", [Line("descriptors", [(s.at, s.fds) for s in samples])]),
        "cpu": ("CPU, cores in use", [Line("CPU", [(s.at, s.cpu) for s in samples if s.cpu is not None])]),
        "gpu": ("GPU utilization, 0–1", [Line("GPU", [(s.at, s.gpu) for s in samples if s.gpu is not None])]),
        "gpu-memory": (
            "GPU memory, GB", [Line("GPU", [(s.at, s.gpu_memory / 1e9) for s in samples if s.gpu_memory is not None])]
        ),
    }  # fmt: skip
    written = []
    for name, (title, lines) in figures.items():
        if any(len(line.points) > 1 for line in lines):
            written.append(folder / f"{name}.png")
            draw(title, lines, seconds, written[-1])
    return written


def _bins(seconds: float) -> Any:
    return np.linspace(0.0, seconds, _BINS + 1)


def _latency(stats: RunStats, seconds: float) -> list[Line]:
    at, elapsed, kind = stats.columns()
    edges = _bins(seconds)
    bins = np.digitize(at, edges) - 1
    lines = []
    for n, name in enumerate(KINDS):
        values_at = [(float(edges[b]), elapsed[(bins == b) & (kind == n)]) for b in range(_BINS)]
        lines.append(Line(name, [(x, float(np.percentile(values, 95))) for x, values in values_at if len(values)]))
    return lines


def _throughput(stats: RunStats, seconds: float) -> list[Line]:
    at, _, kind = stats.columns()
    edges = _bins(seconds)
    width = seconds / _BINS
    counts = {name: np.histogram(at[kind == n], edges)[0] / width for n, name in enumerate(KINDS)}
    return [Line(name, list(zip(edges.tolist(), count.tolist(), strict=False))) for name, count in counts.items()]


def draw(title: str, lines: Sequence[Line], seconds: float, file: Path) -> None:
    """Write a PNG. The y axis starts at 0, so that slopes are comparable."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    top = _round_up(max((y for line in lines for _, y in line.points), default=1.0))
    pen.text((_LEFT, 12), title, fill="black", font=ImageFont.load_default(16))
    for n in range(5):
        value = top * n / 4
        y = _y(value, top)
        pen.line((_LEFT, y, WIDTH - _RIGHT, y), fill=(225, 225, 225))
        pen.text((8, y - 8), f"{value:g}", fill="black", font=font)
        x = min(_x(seconds * n / 4, seconds) - 14, WIDTH - 52)
        pen.text((x, HEIGHT - 34), _clock(seconds * n / 4), fill="black", font=font)
    for n, line in enumerate(lines):
        colour = _COLOURS[n % len(_COLOURS)]
        path = [(_x(x, seconds), _y(y, top)) for x, y in line.points]
        if len(path) > 1:
            pen.line(path, fill=colour, width=2)
        if len(lines) > 1:
            pen.text((WIDTH - _RIGHT - 90 * (len(lines) - n), 14), line.name, fill=colour, font=font)
    image.save(file)


def _x(at: float, seconds: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * at / seconds


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8, 10 times a power of ten, for readable axis labels."""
    if value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(n * power for n in (1, 2, 4, 8, 10) if n * power >= value * (1 - 1e-9)))


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
