"""Plot of the losses of a training run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hunyuanocr.line_plot import draw

_TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10)


def plot_losses(points: Sequence[tuple[int, int, float, float]], file: Path) -> None:
    """Plot losses over samples, (samples, level, answers, characters) each, with a line at each new level. Write a PNG."""
    answers = [(samples, loss) for samples, _, loss, _ in points if not math.isnan(loss)]
    characters = [(samples, loss) for samples, _, _, loss in points if not math.isnan(loss)]
    marks = [(after[0], f"level {after[1]}") for before, after in pairwise(points) if before[1] != after[1]]
    end = max(points[-1][0], 1) if points else 1
    lines = {"answers": answers, "characters": characters}
    draw("loss by samples", lines, end, file, "{:,.0f}".format, log_ticks=_TICKS, marks=marks)
