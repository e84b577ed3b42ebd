"""Graphics: rules, bar codes, QR-like codes, red seals."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np
from numpy.typing import NDArray

from synthesis.document import Art
from synthesis.fonts import Face

Box = tuple[float, float, float, float]


def draw_rule_or_code(kind: Art, width: int, em: int, rng: random.Random) -> NDArray[np.uint8]:
    """Return the ink mask [h, width] of a rule or a code, with space above and below it."""
    if kind == "barcode":
        return _barcode(width, em, rng)
    if kind == "qr":
        return _qr(width, em, rng)
    return _rule(kind, width, em)


def _rule(kind: Art, width: int, em: int) -> NDArray[np.uint8]:
    strip = np.zeros((em, width), np.uint8)
    middle, thick = em // 2, max(1, em // 14)
    if kind == "double":
        strip[middle - 2 * thick : middle - thick] = strip[middle + thick : middle + 2 * thick] = 255
        return strip
    strip[middle : middle + thick] = 255
    if kind in {"dashed", "stars"}:
        period = em // 2 if kind == "dashed" else em // 4
        strip[:, np.arange(width) % period > period * 0.6] = 0
    return strip


def _barcode(width: int, em: int, rng: random.Random) -> NDArray[np.uint8]:
    strip = np.zeros((4 * em, width), np.uint8)
    unit, x, dark = max(2, em // 12), int(width * 0.2), True
    while x < width * 0.8:
        step = unit * rng.choice((1, 1, 2, 3))
        if dark:
            strip[em // 2 : -em // 2, x : x + step] = 255
        x, dark = x + step, not dark
    return strip


def _qr(width: int, em: int, rng: random.Random) -> NDArray[np.uint8]:
    count = rng.choice((25, 29, 33))
    cells = np.array([[rng.random() < 0.5 for _ in range(count)] for _ in range(count)], np.uint8) * 255
    for top, left in ((0, 0), (0, count - 7), (count - 7, 0)):
        cells[max(0, top - 1) : top + 8, max(0, left - 1) : left + 8] = 0
        cells[top : top + 7, left : left + 7] = 255
        cells[top + 1 : top + 6, left + 1 : left + 6] = 0
        cells[top + 2 : top + 5, left + 2 : left + 5] = 255
    unit = max(2, round(em * 7 / count))
    code = np.kron(cells, np.ones((unit, unit), np.uint8))
    strip = np.zeros((len(code) + em, width), np.uint8)
    left = max(0, (width - len(code)) // 2)
    strip[em // 2 : em // 2 + len(code), left : left + len(code)] = code[:, : width - left]
    return strip


def draw_seal(sheet: NDArray[np.uint8], words: str, face: Face, *, at: tuple[int, int], radius: int, strength: float) -> Box:
    """Draw a round red seal on the sheet (in place): ring, star, words below it. Return the box of the words."""
    size = round(radius * 1.3 / len(words))
    text = face.ink(words, size)
    side = 2 * radius + 8
    seal = np.zeros((side, side), np.uint8)
    cv2.circle(seal, (side // 2, side // 2), radius, 255, max(2, radius // 14), cv2.LINE_AA)
    angles = [math.pi * (0.8 * k - 0.5) for k in range(5)]
    star = np.array(
        [[side / 2 + radius * 0.3 * math.cos(a), side / 2 - radius * 0.2 + radius * 0.3 * math.sin(a)] for a in angles]
    )
    cv2.fillPoly(seal, [star.astype(np.int32)], 255)
    rows, columns = np.flatnonzero(text.max(axis=1)), np.flatnonzero(text.max(axis=0))
    text = text[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = round(side / 2 + radius * 0.3), (side - text.shape[1]) // 2
    seal[top : top + text.shape[0], left : left + text.shape[1]] = text
    x, y = min(max(0, at[0] - side // 2), sheet.shape[1] - side), min(max(0, at[1] - side // 2), sheet.shape[0] - side)
    alpha = seal.astype(np.float32)[..., None] / 255 * strength
    area = sheet[y : y + side, x : x + side]
    # The red ink absorbs blue and green; black text below stays legible.
    sheet[y : y + side, x : x + side] = (area * (1 - alpha * np.array([0.12, 0.85, 0.8], np.float32))).astype(np.uint8)
    return (x + left, y + top, x + left + text.shape[1], y + top + text.shape[0])
