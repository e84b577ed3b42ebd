"""Upright crops of text lines at the recogniser's height; long ones are split at their gaps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.detector import Quads

Crop = NDArray[np.uint8]  # [height, width, 3]

_MARGIN = 0.1  # of the height: the space that the detector leaves around the text for the recogniser
_TALL_RATIO = 1.5  # height : width from which a box is a vertical line, not one letter


def quad_sizes(quads: Quads) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return widths and heights [n], each in pixels, by the corner order of each quad."""
    edges = np.linalg.norm(quads - np.roll(quads, -1, axis=1), axis=2)
    return np.maximum(edges[:, 0], edges[:, 2]), np.maximum(edges[:, 1], edges[:, 3])


def initial_rotation(quads: Quads) -> NDArray[np.intp]:
    """Return the quarter turns [n] that probably bring each line upright: 0, or 1 for lines that run downwards.

    On a page of horizontal lines a narrow box of about line height is a single upright letter; on a sideways page a flat box is.
    The direction of most lines decides.
    """
    wide, high = quad_sizes(quads)
    flat, tall = wide >= _TALL_RATIO * high, high >= _TALL_RATIO * wide
    sideways = high[tall].sum() > wide[flat].sum()
    across, clear = (wide, tall) if sideways else (high, flat)
    if not clear.any():
        return tall.astype(np.intp)
    line_height = float(np.median(across[clear]))
    odd = (flat if sideways else tall) & (across > 1.8 * line_height)
    return np.where(odd, 0, 1) if sideways else np.where(odd, 1, 0)


def rotate_quads(quads: Quads, turns: NDArray[np.intp]) -> Quads:
    """Return the quads with their corners in reading order: the first is the top-left corner of the upright text."""
    order = (np.arange(4)[None] + turns[:, None]) % 4
    return np.take_along_axis(quads, order[..., None], axis=1)


def shrink_to_text(quad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the quadrilateral [4, 2] without its margin, as a person would annotate it (docs/evaluation.md)."""
    wide, high = (float(side[0]) for side in quad_sizes(quad[None]))
    by = _MARGIN * min(wide, high)
    if by <= 0:
        return quad
    along, down = (quad[1] - quad[0]) / max(wide, 1e-6) * by, (quad[3] - quad[0]) / max(high, 1e-6) * by
    inwards = np.stack([along + down, down - along, -along - down, along - down])
    tight: NDArray[np.float32] = (quad + inwards).astype(np.float32)
    return tight


def crop_widths(quads: Quads, height: int) -> NDArray[np.intp]:
    """Return the width [n] in pixels of each crop at `height`, with its aspect ratio."""
    wide, high = quad_sizes(quads)
    return np.maximum(np.ceil(wide * height / np.maximum(high, 1)), 4).astype(np.intp)


def crop_line(page: NDArray[np.uint8], quad: NDArray[np.float32], width: int, height: int) -> Crop:
    """Return the quadrilateral (in reading order) of a page [h, w, 3] as an upright crop [height, width, 3]."""
    high = float(np.linalg.norm(quad[0] - quad[3]))
    factor = max(1, int(high / height))  # large text is averaged, not sampled
    size = (width * factor, height * factor)
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    across = cv2.getPerspectiveTransform(quad, target)
    crop: Crop = cv2.warpPerspective(page, across, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return crop if factor == 1 else cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)


def split_at_gaps(crop: Crop, widest: int) -> list[tuple[Crop, bool]]:
    """Split a crop wider than `widest` pixels at its clearest gaps into pieces of at most that width.

    Each piece comes with whether a space precedes it (the gap is as wide as one between words).
    """
    pieces, spaced = [], False
    while crop.shape[1] > widest:
        at, wide = _gap(crop, widest)
        pieces.append((crop[:, :at], spaced))
        crop, spaced = crop[:, at:], wide >= 0.22 * crop.shape[0]
    return [*pieces, (crop, spaced)]


def _gap(crop: Crop, widest: int) -> tuple[int, int]:
    """Return middle and width of the widest gap in the right half of the first `widest` columns; else the lightest column."""
    grey = crop[:, :widest].astype(np.float32).mean(2)
    ink = grey.max(0) - grey.min(0)
    start = widest // 2
    blank = np.concatenate([[False], ink[start:] < 0.35 * np.percentile(ink, 90), [False]])
    edges = np.flatnonzero(np.diff(blank.astype(np.int8)))
    if len(edges) == 0:
        return start + int(ink[start:].argmin()), 0
    begins, ends = edges[::2], edges[1::2]
    best = int((ends - begins).argmax())
    return max(1, start + int(begins[best] + ends[best]) // 2), int(ends[best] - begins[best])
