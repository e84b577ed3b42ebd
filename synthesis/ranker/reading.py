"""Generated pages as a recogniser reads them: misread letters, lost spaces, joined lines, moved and skewed boxes."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hunyuanocr.types import Line, Point
from synthesis.ranker.sheet import Box, Printed, Sheet

_PIXELS = 20  # per height of a letter
_MARGIN = 5  # heights of a letter
_CONFUSED = dict(zip("loOIeSaniBsug", "100lc5oml85v9", strict=True))


@dataclass(frozen=True)
class _Camera:
    """How the boxes of a page become pixels."""

    rng: random.Random
    slope: float
    scale: float

    def line(self, text: str, box: Box) -> Line:
        left, top, right, bottom = box
        dx, dy = self.rng.gauss(0, 0.06), self.rng.gauss(0, 0.06)

        def pixel(x: float, y: float) -> Point:
            return (x + dx + _MARGIN) * self.scale, (y + dy + self.slope * x + _MARGIN) * self.scale

        corners = pixel(left, top), pixel(right, top), pixel(right, bottom), pixel(left, bottom)
        return Line(text, corners, 1 - min(0.5, self.rng.expovariate(25)))


def as_read(sheet: Sheet) -> tuple[list[Line], dict[int, int]]:
    """Return the lines of a page as a recogniser reads them, and the index of the read line of each printed line.

    Letters are lost and confused outside the answers, spaces are lost, neighbours in a row are joined, the page is skewed.
    """
    rng = sheet.rng
    camera = _Camera(rng, rng.gauss(0, 0.012), rng.uniform(0.8, 1.3) * _PIXELS)
    kept = {n for pair in sheet.continued for n in pair}
    texts = _texts(sheet, kept)
    groups = _joined(sheet, kept) if rng.random() < 0.5 else [[n] for n in range(len(sheet.lines))]
    lines: list[Line] = []
    moved: dict[int, int] = {}
    for group in groups:
        moved |= dict.fromkeys(group, len(lines))
        text = " ".join(texts[n] for n in group)
        if text.strip():
            lines.append(camera.line(text, _around([sheet.lines[n].box for n in group])))
    return lines, moved


def _texts(sheet: Sheet, kept: set[int]) -> list[str]:
    """Return the read text of each printed line; only spaces are lost in the lines of `kept`."""
    rng = sheet.rng
    noise, dense = rng.choice([0, 0.05, 0.15, 0.35]), rng.random() < 0.25
    texts = [line.text if n in kept else _misread(rng, line, noise) for n, line in enumerate(sheet.lines)]
    return [t.replace(" ", "") if (dense and rng.random() < 0.7) or rng.random() < 0.02 else t for t in texts]


def _around(boxes: list[Box]) -> Box:
    """Return the box around boxes of a row, from left to right."""
    return boxes[0][0], min(b[1] for b in boxes), boxes[-1][2], max(b[3] for b in boxes)


def _joined(sheet: Sheet, kept: set[int]) -> list[list[int]]:
    """Group neighbours in a row that a detector may take for one line: close to each other, at the same height."""
    boxes = [line.box for line in sheet.lines]
    groups: list[list[int]] = []
    for n in sorted(range(len(boxes)), key=lambda n: (round(boxes[n][1]), boxes[n][0])):
        last = groups[-1][-1] if groups else None
        free = last is not None and not {last, n} & kept
        if free and _near(boxes[groups[-1][-1]], boxes[n]) and sheet.rng.random() < 0.6:
            groups[-1].append(n)
        else:
            groups.append([n])
    return groups


def _near(left: Box, right: Box) -> bool:
    return abs(left[1] - right[1]) < 0.25 and 0 < right[0] - left[2] < 1.6


def _misread(rng: random.Random, line: Printed, share: float) -> str:
    """Return the text with some letters lost or confused, outside the value; as it is if it has more than one value."""
    if rng.random() > share or len(line.values) > 1:
        return line.text
    value = line.values[0] if line.values and line.values[0] in line.text else ""
    before, _, after = line.text.rpartition(value) if value else (line.text, "", "")
    return _blurred(rng, before) + value + _blurred(rng, after)


def _blurred(rng: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(max(1, len(letters) // 12) if letters else 0):
        n = rng.randrange(len(letters))
        if not letters[n].isdigit():
            letters[n] = _blur(rng, letters[n])
    return "".join(letters)


def _blur(rng: random.Random, letter: str) -> str:
    """Return nothing, a letter of similar shape, or the letter and a thin one."""
    draw = rng.random()
    if draw < 0.4:
        return ""
    return _CONFUSED.get(letter, letter) if draw < 0.8 else letter + rng.choice("ilt.")
