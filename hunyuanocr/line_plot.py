"""Line plots as PNG files, drawn with Pillow, which is a dependency already."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 960, 420
COLOURS = ((200, 60, 40), (40, 90, 200), (30, 140, 70), (150, 90, 170))
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 20, 44, 44

Points = Sequence[tuple[float, float]]  # (x, y)
Marks = Sequence[tuple[float, str]]  # x, text


def draw(
    title: str, lines: Mapping[str, Points], end: float, file: Path, label: Callable[[float], str], *,
    log_ticks: Sequence[float] = (), marks: Marks = (),
) -> None:  # fmt: skip
    """Write a PNG; x runs from 0 to `end`, `label` formats its values. `marks`: vertical lines with a text.

    The y axis starts at 0, so that slopes are comparable; with `log_ticks` it is logarithmic and has their range.
    """
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.text((_LEFT, 12), title, fill="black", font=ImageFont.load_default(16))
    top = _round_up(max((y for points in lines.values() for _, y in points), default=1.0))
    ticks = log_ticks or [top * n / 4 for n in range(5)]
    for value in ticks:
        y = _y(value, ticks)
        pen.line((_LEFT, y, WIDTH - _RIGHT, y), fill=(225, 225, 225))
        pen.text((8, y - 8), f"{value:g}", fill="black", font=font)
    for n in range(5):
        pen.text((min(_x(n, 4) - 14, WIDTH - 52), HEIGHT - 34), label(end * n / 4), fill="black", font=font)
    for at, text in marks:
        pen.line((_x(at, end), _TOP, _x(at, end), HEIGHT - _BOTTOM), fill=(150, 150, 150))
        pen.text((_x(at, end) + 3, _TOP), text, fill="black", font=font)
    for n, (name, points) in enumerate(lines.items()):
        if len(points) > 1:
            pen.line([(_x(x, end), _y(y, ticks)) for x, y in points], fill=COLOURS[n % len(COLOURS)], width=2)
        if len(lines) > 1:
            pen.text((WIDTH - _RIGHT - 90 * (len(lines) - n), 14), name, fill=COLOURS[n % len(COLOURS)], font=font)
    image.save(file)


def _x(value: float, end: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * value / end


def _y(value: float, ticks: Sequence[float]) -> float:
    low, high = ticks[0], ticks[-1]
    share = math.log(min(max(value, low), high) / low) / math.log(high / low) if low else value / high
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8, 10 times a power of ten, for readable axis labels."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(n * power for n in (1, 2, 4, 8, 10) if n * power >= value * (1 - 1e-9))
