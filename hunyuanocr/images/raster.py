"""Convert decoded images of any mode to small RGB or gray images in bands, so that only the decoder's buffer has full size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND_PIXELS = 500_000  # pixels converted at a time
BAND_BYTES = 24  # maximum per pixel of a band: RGBA, composed on a ground, and RGB
_SAMPLED_PIXELS = 250_000  # examined to choose the ground of a transparent image
_LIGHT = 128  # gray level
_MAX_DARK = 0.02  # share of what is visible; dark text on white paper takes more


class Raster(Protocol):
    """Decoded pixels that can be read in bands as Pillow images."""

    size: tuple[int, int]
    missing: float | None  # share of the rows that the file lacks; None if it is complete

    def band(self, top: int, bottom: int) -> Image.Image:
        """Return the rows `top` … `bottom` - 1."""


class PillowRaster:
    """An image decoded by Pillow."""

    def __init__(self, image: Image.Image, missing: float | None = None) -> None:
        self.size = image.size
        self.missing = missing
        self._image = image
        self._factor = _gray_factor(image) if image.mode[0] in "IF" else 1.0

    def band(self, top: int, bottom: int) -> Image.Image:
        """Return rows; samples of more than 8 bits are reduced to 8 bits."""
        image = self._image
        part = image if bottom - top == self.size[1] else image.crop((0, top, self.size[0], bottom))
        if image.mode[0] not in "IF":
            return part
        return Image.fromarray(_eight_bits(np.asarray(part), self._factor))


class ArrayRaster:
    """An image decoded by another library: uint8 [h, w], [h, w, 3] or [h, w, 4]; RGB, or BGR if `bgr`."""

    missing: float | None = None

    def __init__(self, pixels: NDArray[np.uint8], *, bgr: bool = False) -> None:
        self.size = pixels.shape[1], pixels.shape[0]
        self._pixels = pixels
        self._order = [2, 1, 0, 3][: pixels.shape[2]] if bgr and pixels.ndim == 3 else None

    def band(self, top: int, bottom: int) -> Image.Image:
        """Return rows as L, RGB or RGBA."""
        part = self._pixels[top:bottom]
        return Image.fromarray(np.ascontiguousarray(part if self._order is None else part[..., self._order]))


def reduced(raster: Raster, small: tuple[int, int], mode: Literal["RGB", "L"] = "RGB") -> NDArray[np.uint8]:
    """Return the image scaled to `small` (columns, rows): uint8 [h, w, 3], or [h, w] for gray.

    Transparency becomes white, or black if all that is visible is light (white text).
    """
    width, height = raster.size
    columns, rows = small
    ground = _ground(raster)
    scaled: NDArray[np.uint8] = np.empty((rows, columns, 3) if mode == "RGB" else (rows, columns), np.uint8)
    for top, bottom in _bands(width, height, rows):
        first, last = top * height / rows, bottom * height / rows
        begin, end = math.floor(first), min(height, math.ceil(last))
        band = flat(raster.band(begin, end), mode, ground)
        if small != raster.size:  # BOX averages areas, which avoids aliasing
            box = (0, first - begin, width, min(end - begin, last - begin))
            band = band.resize((columns, bottom - top), Image.Resampling.BOX, box=box)
        scaled[top:bottom] = np.asarray(band)
    return scaled


def _bands(width: int, height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield row ranges of the small image that correspond to about `BAND_PIXELS` of the large one."""
    step = max(1, BAND_PIXELS * rows // (width * height))
    for top in range(0, rows, step):
        yield top, min(rows, top + step)


def flat(image: Image.Image, mode: Literal["RGB", "L"], ground: str = "white") -> Image.Image:
    """Convert any mode to RGB or gray. Transparency becomes `ground`."""
    if _has_alpha(image):
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba)
    if image.mode == mode:
        return image
    return image.convert("RGB").convert(mode) if mode == "L" and image.mode != "L" else image.convert(mode)


def _has_alpha(image: Image.Image) -> bool:
    return "transparency" in image.info or image.mode in {"RGBA", "RGBa", "LA", "La", "PA"}


def _ground(raster: Raster) -> str:
    """Return the color for transparency that contrasts with what is visible: black if nearly all of that is light."""
    width, height = raster.size
    if not _has_alpha(raster.band(0, 1)):
        return "white"
    step = max(1, math.isqrt(width * height // _SAMPLED_PIXELS))
    visible = dark = 0.0
    for top, bottom in _bands(width, height, height):
        band = raster.band(top, bottom)
        sample = band.resize((max(1, width // step), max(1, (bottom - top) // step)), Image.Resampling.NEAREST)
        pixels = np.asarray(sample.convert("RGBA").convert("LA"), np.float32)
        visible += float(pixels[..., 1].sum())
        dark += float(pixels[..., 1][pixels[..., 0] < _LIGHT].sum())
    return "black" if visible and dark < _MAX_DARK * visible else "white"


def _gray_factor(image: Image.Image) -> float:
    """Return the factor from gray of more than 8 bits to 8 bits.

    The range is estimated from the values: 0…1, or 8, 10, 12, 14 or 16 bits, which cameras and scanners store in 16 or 32 bits;
    for larger values, the maximum.
    """
    high = 0.0
    for top, bottom in _bands(*image.size, image.size[1]):
        part = np.asarray(image.crop((0, top, image.size[0], bottom)))
        high = max(high, float(np.nan_to_num(part, posinf=0.0).max(initial=0)))
    if high <= 1:
        return 255.0
    return 255.0 / next((2**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)


def _eight_bits(samples: NDArray[np.generic], factor: float) -> NDArray[np.uint8]:
    grey = np.nan_to_num(samples.astype(np.float32))
    eight: NDArray[np.uint8] = np.clip(np.rint(grey * factor), 0, 255).astype(np.uint8)
    return eight
