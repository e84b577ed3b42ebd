"""Is the photograph good enough? Blur, glare and low resolution are told before anything is read, by numpy alone.

The limits are set so that the scans and the readable photographs of the development set rarely warn (docs/reader.md).
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import ResultWarning

log = logging.getLogger(__name__)

_BLURRY = 0.12  # sharpness; print blurred by a Gaussian of 2 pixels is about 0.14, of 3 pixels 0.11, of 4 pixels 0.09
_GLARE_SHARE = 0.015  # of the page
_BRIGHT_PAPER = 215.0  # paper this bright is exposed so that white is no sign of glare
_FEW_PIXELS = 60_000  # 200 × 300: a receipt of that size has letters of 6 pixels
_STRIP = 6.0  # longer than wide by this much: a cut-out line, which needs few pixels
_MIN_SPAN = 12  # grey levels within a window of 16 pixels from which it holds an edge and not noise
_MIN_EDGES = 30  # windows; of fewer no median is taken


def assess(pixels: NDArray[np.uint8], width: int, height: int, index: int = 0) -> tuple[ResultWarning, ...]:
    """Notices about one RGB page (uint8 [h, w, 3]); `width` × `height` is the original's size in pixels.

    Never raises: a page is read whatever its quality, so an error of a measure is logged and gives no notice.
    """
    try:
        return _assess(pixels, width, height, index)
    except Exception:
        log.exception("The quality of a page of %s × %s pixels could not be measured.", width, height)
        return ()


def _assess(pixels: NDArray[np.uint8], width: int, height: int, index: int) -> tuple[ResultWarning, ...]:
    green = pixels[..., 1]  # carries most of the brightness
    found = []
    sharp = sharpness(green)
    if sharp is not None and sharp < _BLURRY:
        found.append(ResultWarning("blurry", "The picture is blurred; hold still, let it focus and take the photo again.", index))
    if glare(green) > _GLARE_SHARE:
        found.append(
            ResultWarning("glare", "Light is mirrored on the paper; tilt it or move the lamp and take the photo again.", index)
        )
    if 1 < width * height < _FEW_PIXELS and max(width, height) < _STRIP * min(width, height):
        found.append(
            ResultWarning("low_resolution", "The picture has very few pixels; go closer and take the photo again.", index)
        )
    return tuple(found)


def sharpness(grey: NDArray[np.uint8]) -> float | None:
    """How steep edges are: the largest step between neighbours over the page's full contrast, 0…1; None without edges.

    For an edge blurred by a Gaussian of s pixels it is about 0.3 / s, whatever the contrast. Of rows and columns the softer
    counts, since a hand moves one way; both are set against the same contrast, which motion wipes out along its own way.
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
    """Grey levels between paper and print: what one window of a hundred exceeds.

    On a nearly empty page fewer than that hold any print: there, what one of ten exceeds of those that do. 0 without edges.
    """
    with_edges = int((spans >= _MIN_SPAN).sum())
    if with_edges == 0:
        return 0.0
    exceeding = min(0.01 * spans.size, 0.1 * with_edges)
    return float(np.percentile(spans, 100.0 * (1.0 - exceeding / spans.size)))


def glare(grey: NDArray[np.uint8]) -> float:
    """Share of the page that is blown out although the paper is not: white islands that touch no border, 0…1."""
    side = max(1, max(grey.shape) // 96)
    rows, columns = (size // side for size in grey.shape)
    if min(rows, columns) < 3:
        return 0.0
    cells = grey[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    cells = np.sort(cells.reshape(rows, columns, side * side)[..., ::7], axis=2)
    count = cells.shape[2]
    white, paper = cells[..., count // 10] >= 252, cells[..., count * 3 // 4]  # all but the darkest tenth; the paper's own shade
    if not white.any() or white.all() or np.median(paper[~white]) >= _BRIGHT_PAPER:
        return 0.0
    island = white & ~_reached_from_border(white)
    rim = paper[_grown(_grown(_grown(island))) & ~white]
    # A mirrored lamp fades out; the edge of white paper on a dark table does not, nor does the print on it.
    fades = rim.size > 0 and np.mean((rim > 170) & (rim < 252)) > 0.5
    return float(island.mean()) if fades else 0.0


def _reached_from_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells of the mask that hang together with its border: a white table beside the paper, not a lamp's mirror image on it."""
    reached = mask.copy()
    reached[1:-1, 1:-1] = False
    while True:
        grown = _grown(reached) & mask
        if (grown == reached).all():
            return reached
        reached = grown


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask and its neighbours above, below, left and right."""
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown
