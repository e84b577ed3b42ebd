"""Image quality checks for blur, glare and low resolution, with NumPy only.

The thresholds are set so that scans and readable photos of the development set rarely cause a warning (docs/reader.md).
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import ResultWarning

log = logging.getLogger(__name__)

_BLURRY = 0.12  # sharpness; print blurred by a Gaussian of 2 pixels is about 0.14, of 3 pixels 0.11, of 4 pixels 0.09
_GLARE_SHARE = 0.015  # of the page
_BRIGHT_PAPER = 215.0  # with paper this bright, white areas do not indicate glare
_FEW_PIXELS = 60_000  # 200 × 300: a receipt of that size has letters of 6 pixels
_STRIP = 6.0  # aspect ratio of a single cut-out line, which needs few pixels
_MIN_SPAN = 12  # minimum gray level span of a window of 16 pixels with an edge
_MIN_EDGES = 30  # minimum number of windows for a median


def assess(pixels: NDArray[np.uint8], width: int, height: int, index: int = 0) -> tuple[ResultWarning, ...]:
    """Return warnings about one RGB page (uint8 [h, w, 3]); `width` × `height` is the original size in pixels.

    Never raises: errors are logged and give no warning, because the page is read regardless of its quality.
    """
    try:
        return _assess(pixels, width, height, index)
    except Exception:
        log.exception("The quality of a page of %s × %s pixels could not be measured.", width, height)
        return ()


def _assess(pixels: NDArray[np.uint8], width: int, height: int, index: int) -> tuple[ResultWarning, ...]:
    green = pixels[..., 1]  # carries most of the brightness
    warnings = []
    sharp = sharpness(green)
    if sharp is not None and sharp < _BLURRY:
        warnings.append(
            ResultWarning("blurry", "The photo is blurred. Hold the camera still, let it focus and take the photo again.", index)
        )
    if glare(green) > _GLARE_SHARE:
        warnings.append(
            ResultWarning("glare", "The photo has glare. Tilt the paper or move the light, and take the photo again.", index)
        )
    if 1 < width * height < _FEW_PIXELS and max(width, height) < _STRIP * min(width, height):
        warnings.append(ResultWarning("low_resolution", "The resolution is low. Move closer and take the photo again.", index))
    return tuple(warnings)


def sharpness(grey: NDArray[np.uint8]) -> float | None:
    """Return the steepness of edges: the largest step between neighbours over the full contrast, 0…1; None without edges.

    For an edge blurred by a Gaussian of s pixels it is about 0.3 / s, independent of the contrast. The smaller value of rows and
    columns is used, since motion blur has one direction; both use the same contrast, which motion blur reduces in its direction.
    """
    steepest, contrasts = [], []
    for lines in (grey[::6], grey.T[::6]):
        blocks = lines.shape[1] // 16
        if lines.size == 0 or blocks == 0:
            continue
        windows = lines[:, : blocks * 16].reshape(len(lines), blocks, 16).astype(np.int16)
        spans = np.ptp(windows, axis=2)
        contrast = _contrast(spans)
        edges = spans >= max(_MIN_SPAN, 0.5 * contrast)
        if edges.sum() >= _MIN_EDGES:
            steepest.append(float(np.median(np.abs(np.diff(windows[edges], axis=1)).max(1))))
            contrasts.append(contrast)
    return min(1.0, min(steepest) / max(contrasts)) if steepest else None


def _contrast(spans: NDArray[np.int16]) -> float:
    """Return the gray levels between paper and print: the 99th percentile of the spans of windows; 0 without edges.

    On a nearly empty page, the 90th percentile of the windows with edges.
    """
    with_edges = int((spans >= _MIN_SPAN).sum())
    if with_edges == 0:
        return 0.0
    exceeding = min(0.01 * spans.size, 0.1 * with_edges)
    return float(np.percentile(spans, 100.0 * (1.0 - exceeding / spans.size)))


def glare(grey: NDArray[np.uint8]) -> float:
    """Return the overexposed share of the page, 0…1: white areas on darker paper that do not touch the border."""
    side = max(1, max(grey.shape) // 96)
    rows, columns = (size // side for size in grey.shape)
    if min(rows, columns) < 3:
        return 0.0
    cells = grey[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    cells = np.sort(cells.reshape(rows, columns, side * side)[..., ::7], axis=2)
    count = cells.shape[2]
    white, paper = cells[..., count // 10] >= 252, cells[..., count * 3 // 4]  # all but the darkest tenth; the shade of the paper
    if not white.any() or white.all() or np.median(paper[~white]) >= _BRIGHT_PAPER:
        return 0.0
    island = white & ~_reached_from_border(white)
    rim = paper[_grown(_grown(_grown(island))) & ~white]
    # Glare fades out; the edge of white paper on a dark table does not.
    fades = rim.size > 0 and np.mean((rim > 170) & (rim < 252)) > 0.5
    return float(island.mean()) if fades else 0.0


def _reached_from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells connected to the border: a white table around the paper, not glare on it."""
    reached = mask.copy()
    reached[1:-1, 1:-1] = False
    while True:
        grown = _grown(reached) & mask
        if (grown == reached).all():
            return reached
        reached = grown


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask dilated by one cell in four directions."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
