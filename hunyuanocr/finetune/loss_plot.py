"""Plot of the losses of a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 900, 420, 50
LOW, HIGH = 0.01, 10.0  # range of the loss axis (logarithmic)
COLOURS = ((200, 60, 40), (40, 90, 200))  # answers, reading


def plot_losses(points: Sequence[tuple[int, int, float, float]], file: Path) -> None:
    """Plot losses over samples, (samples, level, answers, characters) each, with a line at each new level. Write a PNG."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for value in (0.01, 0.03, 0.1, 0.3, 1, 3, 10):
        y = _y(value)
        pen.line((MARGIN, y, WIDTH - 10, y), fill=(225, 225, 225))
        pen.text((8, y - 6), f"{value:g}", fill="black")
    if points:
        last = max(points[-1][0], 1)
        xs = [MARGIN + (WIDTH - MARGIN - 10) * samples / last for samples, *_ in points]
        for x, (before, after) in zip(xs[1:], pairwise(points), strict=False):
            if after[1] != before[1]:
                pen.line((x, 20, x, HEIGHT - MARGIN), fill=(150, 150, 150))
                pen.text((x + 3, 20), f"level {after[1]}", fill="black")
        for part, colour in enumerate(COLOURS):
            line = [(x, _y(point[2 + part])) for x, point in zip(xs, points, strict=True) if not math.isnan(point[2 + part])]
            if len(line) > 1:
                pen.line(line, fill=colour, width=2)
        pen.text((WIDTH // 2, HEIGHT - 30), f"samples (to {last:,})", fill="black")
    pen.text((MARGIN, HEIGHT - 30), "answer loss", fill=COLOURS[0])
    pen.text((MARGIN + 120, HEIGHT - 30), "character loss", fill=COLOURS[1])
    image.save(file)


def _y(loss: float) -> float:
    share = math.log(min(max(loss, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
    return HEIGHT - MARGIN - (HEIGHT - MARGIN - 20) * share
