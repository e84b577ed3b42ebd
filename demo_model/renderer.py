"""Draw small receipts quickly, with the position of every character and every run of text."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demo_model.receipts import Cell, Receipt, Row
from synthesis.fonts import Face, FontFile, installed

WIDTH = 448
STEP = 32  # a row of image tokens
FONTS = ("Noto Sans CJK SC", "WenQuanYi Micro Hei")
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, eq=False)
class Page:
    """An image (uint8 RGB [h, 448, 3]); its runs of text in reading order with boxes; glyphs as (character, x, y)."""

    image: NDArray[np.uint8]
    runs: tuple[tuple[str, Box], ...]
    glyphs: tuple[tuple[str, float, float], ...]
    rows: tuple[tuple[str, ...], ...]
    fields: dict[str, tuple[str, Box]]

    @property
    def text(self) -> str:
        """All lines, with a space between the runs of a line."""
        return "\n".join(" ".join(row) for row in self.rows)


def faces() -> tuple[FontFile, ...]:
    """Return the installed fonts of the demo. Raises FontsMissing if none has Chinese characters."""
    found = installed(chinese=True)
    return tuple(font for font in found if font.name in FONTS) or found[:1]


def draw(content: Receipt, rng: random.Random, *, height: int | None = None) -> Page:
    """Draw a receipt on a page whose height is `height`, or the smallest sufficient multiple of 32.

    Rows that do not fit `height` are omitted.
    """
    pen = _Pen(rng)
    top = rng.uniform(3, 14)
    page: list[tuple[Row, float]] = []
    rules = []
    for row in content.rows:
        if row is None:
            rules.append(top + 2)
            top += 8
            continue
        size = max(pen.size_of(cell) for cell in row)
        if height is not None and top + size * 1.15 > height:
            break
        page.append((row, top))
        top += max(STEP + 1, size * pen.leading)
    tall = height or -(-round(top + 4) // STEP) * STEP
    return pen.draw(page, [y for y in rules if y < tall], tall)


@lru_cache(maxsize=1 << 14)
def _advance(char: str, font: ImageFont.FreeTypeFont) -> float:
    return font.getlength(char)


def _length(text: str, font: ImageFont.FreeTypeFont) -> float:
    return sum(_advance(char, font) for char in text)


class _Pen:
    """The font, size and margins of a receipt."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.face = Face(rng.choice(faces()))
        self.size = rng.randint(22, 26)
        self.leading = rng.uniform(1.35, 1.7)
        self.margin = rng.uniform(6, 26)
        self.paper, self.ink = rng.randint(225, 255), rng.randint(0, 70)

    def size_of(self, cell: Cell) -> int:
        return self.size + 3 if cell.large else self.size

    def draw(self, page: list[tuple[Row, float]], rules: list[float], tall: int) -> Page:
        canvas = Image.new("L", (WIDTH, tall), self.paper)
        pen = ImageDraw.Draw(canvas)
        for y in rules:
            pen.line((self.margin, y, WIDTH - self.margin, y), fill=self.ink)
        runs, glyphs, rows, fields = [], [], [], {}
        for row, top in page:
            end, texts = 0.0, []
            for cell in row:
                fitted = self._fitted(cell, WIDTH - 2 * self.margin - end)
                if fitted is None:
                    continue
                text, font, x = fitted
                box, places = self._write(pen, text, font, (x, top))
                end = box[2] - self.margin + 12
                runs.append((text, box))
                texts.append(text)
                glyphs += places
                for name, value in cell.fields:
                    if (at := text.find(value)) >= 0:
                        left, right = (x + _length(text[:stop], font) for stop in (at, at + len(value)))
                        fields[name] = (value, (left, box[1], right, box[3]))
            rows.append(tuple(texts))
        image = np.repeat(np.asarray(canvas)[:, :, None], 3, axis=2)
        return Page(image, tuple(runs), tuple(glyphs), tuple(rows), fields)

    def _fitted(self, cell: Cell, space: float) -> tuple[str, ImageFont.FreeTypeFont, float] | None:
        """Return (text, font, left edge). Text that is too long is reduced, then truncated; None if nothing fits."""
        size, text = self.size_of(cell), cell.text
        font = self.face.font(size)
        while _length(text, font) > space and size > 22:
            size -= 1
            font = self.face.font(size)
        while text and _length(text, font) > space:
            text = text[:-1].rstrip()
        if not text:
            return None
        length = _length(text, font)
        left = {"left": self.margin, "center": (WIDTH - length) / 2, "right": WIDTH - self.margin - length}[cell.side]
        return text, font, left

    def _write(
        self, pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, at: tuple[float, float]
    ) -> tuple[Box, list[tuple[str, float, float]]]:
        x, top = at
        base = top + font.size * 1.0
        pen.text((x, base), text, fill=self.ink, font=font, anchor="ls")
        left, upper, right, lower = font.getbbox(text, anchor="ls")
        places, edge = [], x
        for char in text:
            advance = _advance(char, font)
            if not char.isspace():
                places.append((char, edge + advance / 2, base - font.size * 0.36))
            edge += advance
        return (x + left, base + upper, x + right, base + lower), places
