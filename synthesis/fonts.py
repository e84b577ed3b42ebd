"""The fonts of synthetic documents: find them, and draw and measure text that mixes Chinese and Latin.

Only fonts named here are used, so that two machines with the same packages draw the same documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FontStyle = Literal["sans", "mono", "serif"]

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts", Path.home() / ".fonts")
APT_LINE = "apt install fonts-noto-cjk fonts-wqy-microhei fonts-dejavu-core fonts-dejavu-extra"  # as run_tests.sh does


class FontsMissing(RuntimeError):
    """No installed font has Chinese characters."""

    def __init__(self) -> None:
        super().__init__(f"No font with Chinese characters was found. Install fonts: {APT_LINE}")


@dataclass(frozen=True)
class FontFile:
    """A face of a font file. `bold` is the file of its bold variant; without one, bold is drawn with a stroke."""

    name: str
    file: str
    index: int
    style: FontStyle
    chinese: bool
    bold: str | None = None


KNOWN = (
    FontFile("Noto Sans CJK SC", "NotoSansCJK-Regular.ttc", 2, "sans", True, "NotoSansCJK-Bold.ttc"),
    FontFile("Noto Sans Mono CJK SC", "NotoSansCJK-Regular.ttc", 7, "mono", True, "NotoSansCJK-Bold.ttc"),
    FontFile("Noto Serif CJK SC", "NotoSerifCJK-Regular.ttc", 2, "serif", True, "NotoSerifCJK-Bold.ttc"),
    FontFile("WenQuanYi Micro Hei", "wqy-microhei.ttc", 0, "sans", True),
    FontFile("WenQuanYi Micro Hei Mono", "wqy-microhei.ttc", 1, "mono", True),
    FontFile("DejaVu Sans", "DejaVuSans.ttf", 0, "sans", False, "DejaVuSans-Bold.ttf"),
    FontFile("DejaVu Sans Condensed", "DejaVuSansCondensed.ttf", 0, "sans", False, "DejaVuSansCondensed-Bold.ttf"),
    FontFile("DejaVu Sans Mono", "DejaVuSansMono.ttf", 0, "mono", False, "DejaVuSansMono-Bold.ttf"),
    FontFile("DejaVu Serif", "DejaVuSerif.ttf", 0, "serif", False, "DejaVuSerif-Bold.ttf"),
)


@cache
def font_files() -> dict[str, Path]:
    """Return the path of each known font file on this machine, by its name."""
    names = {font.file for font in KNOWN} | {font.bold for font in KNOWN if font.bold}
    found = (path for folder in FOLDERS if folder.is_dir() for path in sorted(folder.rglob("*.tt[cf]")) if path.name in names)
    return {path.name: path for path in found}


def installed(*, chinese: bool) -> tuple[FontFile, ...]:
    """The known fonts that this machine has, in a fixed order. Raises FontsMissing when none can draw Chinese."""
    fonts = tuple(font for font in KNOWN if font.file in font_files() and font.chinese is chinese)
    if chinese and not fonts:
        raise FontsMissing
    return fonts


@cache
def _load(file: str, index: int, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_files()[file]), size, index=index, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1 << 14)
def _advance(text: str, font: ImageFont.FreeTypeFont) -> float:
    return font.getlength(text)


def _is_wide(char: str) -> bool:
    return ord(char) >= 0x2E80


@dataclass(frozen=True)
class Face:
    """The typeface of a document: a Chinese font, and optionally another for Latin letters and digits."""

    chinese: FontFile
    latin: FontFile | None = None

    @property
    def name(self) -> str:
        """The names of the fonts, for the metadata."""
        return self.chinese.name if self.latin is None else f"{self.chinese.name} + {self.latin.name}"

    @property
    def half(self) -> float:
        """The width of a digit in ems; half an em or more."""
        return max(0.5, self.length("0" * 10, 100) / 1000)

    def _runs(self, text: str, size: int, bold: bool) -> list[tuple[str, ImageFont.FreeTypeFont, int]]:
        """Return (part, font, stroke) of a text; the stroke thickens fonts without a bold variant."""
        runs = []
        for wide, chars in groupby(text, key=_is_wide):
            font = self.chinese if wide or self.latin is None else self.latin
            cut = font.bold if bold and font.bold in font_files() else None
            stroke = 1 if bold and cut is None else 0
            runs.append(("".join(chars), _load(cut or font.file, font.index, size), stroke))
        return runs

    def font(self, size: int) -> ImageFont.FreeTypeFont:
        """Return the Chinese font in a size in pixels."""
        return _load(self.chinese.file, self.chinese.index, size)

    def length(self, text: str, size: int, bold: bool = False) -> float:
        """Return the advance width of `text` in pixels."""
        return sum(_advance(part, font) for part, font, _ in self._runs(text, size, bold))

    def ink(self, text: str, size: int, bold: bool = False) -> NDArray[np.uint8]:
        """Return the drawn text: uint8 [2·size, length + size], origin at x = size/2, baseline at y = 1.4·size."""
        canvas = Image.new("L", (math.ceil(self.length(text, size, bold)) + size, 2 * size))
        draw, pen = ImageDraw.Draw(canvas), float(size // 2)
        for part, font, stroke in self._runs(text, size, bold):
            draw.text((pen, int(1.4 * size)), part, fill=255, font=font, anchor="ls", stroke_width=stroke)
            pen += _advance(part, font)
        return np.asarray(canvas)
