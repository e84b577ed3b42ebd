"""Detect whether a frame shows the same scene as the last one: sensitive to one digit, insensitive to noise.

A 64-bit hash misses one digit of a page; a hash of the bytes reacts to sensor noise. Therefore frames are compared as small
grey images, band-pass filtered to keep strokes and remove shadows and noise, corrected for exposure, in squares of four pixels.
In an unchanged scene the noisiest square is about three times as noisy as the median one; a digit changes its squares by much
more. If the noise is so strong that it could hide a digit, the frame counts as changed: recognition again costs time, an
outdated result costs trust.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Quad

LONG_SIDE = 1024  # pixels: print of at least six pixels at 2048 is three pixels high
_FINE, _COARSE = 0.8, 31  # band-pass: a Gaussian with this sigma minus a box filter of this size, in pixels
_SQUARE = 4
_NOISE_FACTOR = 4.0  # threshold of a changed square, as a multiple of the median square
_MIN_DIFFERENCE = (
    4.0  # grey levels: limits of that threshold; the upper one depends on the scale, because downscaled print has paler strokes
)
_MAX_DIFFERENCE = (1.0, 9.5)
_LIGHT_GRID = (16, 12)  # cells in which brightness is measured
_EXPOSURE = 1.45  # slightly more than half a stop: automatic exposure of a camera
_LIGHT_THRESHOLD = 24.0  # grey levels
_MARGIN = 3  # cells around a box, whose edges may cut digits


@dataclass(frozen=True, eq=False)
class SceneFingerprint:
    """Strokes (int8 [h, w]) and brightness (float32 [12, 16], grey levels) of one frame, and the size of the upright original
    in pixels.
    """

    strokes: NDArray[np.int8]
    light: NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class ChangeMask:
    """Changes between two scenes: bool [h, w], one cell per two pixels, and the size of the original in pixels."""

    cells: NDArray[np.bool_]
    width: int
    height: int

    def __bool__(self) -> bool:
        return bool(self.cells.any())

    def touches(self, box: Quad) -> bool:
        """Return whether something changed in or close to the box (pixels of the original)."""
        rows, columns = self.cells.shape
        xs, ys = [p[0] * columns / self.width for p in box], [p[1] * rows / self.height for p in box]
        top, left = max(0, int(min(ys)) - _MARGIN), max(0, int(min(xs)) - _MARGIN)
        return bool(self.cells[top : int(max(ys)) + _MARGIN + 1, left : int(max(xs)) + _MARGIN + 1].any())


def fingerprint(grey: NDArray[np.uint8], width: int, height: int) -> SceneFingerprint:
    """Compute the fingerprint of a grey image, uint8 [h, w], of an original of this size in pixels."""
    import cv2  # noqa: PLC0415 -- large import that only cameras need

    fine = cv2.GaussianBlur(grey, (0, 0), _FINE)
    coarse = cv2.blur(grey, (_COARSE, _COARSE))
    strokes: NDArray[np.int8] = np.asarray(cv2.subtract(fine, coarse, dtype=cv2.CV_8S), np.int8)
    light = cv2.resize(grey, _LIGHT_GRID, interpolation=cv2.INTER_AREA).astype(np.float32)
    return SceneFingerprint(strokes, light, width, height)


def diff(before: SceneFingerprint, now: SceneFingerprint) -> ChangeMask:
    """Return the cells that differ; all of them if the frames differ in size."""
    if before.strokes.shape != now.strokes.shape or (before.width, before.height) != (now.width, now.height):
        return full_change(now)
    import cv2  # noqa: PLC0415 -- large import that only cameras need

    a, b = (scene.strokes.astype(np.float32) for scene in (before, now))
    difference = b - _gain(a, b) * a
    power = cv2.boxFilter(difference * difference, -1, (_SQUARE, _SQUARE))[::2, ::2]
    squares = np.sqrt(np.maximum(power, 0.0))  # a running sum can be slightly negative
    noise = float(np.median(squares[::2, ::2]))
    scale = max(now.strokes.shape) / max(now.width, now.height)
    limit = min(max(_NOISE_FACTOR * noise, _MIN_DIFFERENCE), _MAX_DIFFERENCE[0] + _MAX_DIFFERENCE[1] * scale)
    cells = squares > limit
    return ChangeMask(cells | _brightness_changes(before.light, now.light, cells.shape), now.width, now.height)


def _brightness_changes(a: NDArray[np.float32], b: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return cells where brightness changed locally, unlike exposure or a lamp: another sheet, a hand."""
    import cv2  # noqa: PLC0415 -- large import that only cameras need

    gain = min(max(float(b.mean()) / max(float(a.mean()), 1.0), 1 / _EXPOSURE), _EXPOSURE)
    changed = (np.abs(b - gain * a) > _LIGHT_THRESHOLD).astype(np.uint8)
    return np.asarray(cv2.resize(changed, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.bool_)


def full_change(scene: SceneFingerprint) -> ChangeMask:
    """Return a change of the whole image."""
    return ChangeMask(np.ones((1, 1), np.bool_), scene.width, scene.height)


def _gain(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the change of contrast by exposure or lighting."""
    norm = float(np.vdot(a, a))
    return min(max(float(np.vdot(a, b)) / norm, 0.5), 2.0) if norm > 0 else 1.0


def any_changed(change: ChangeMask | None, boxes: Iterable[Quad]) -> bool:
    """Return whether a box changed; without boxes, whether anything did. An unknown change (None) counts as changed."""
    if change is None:
        return True
    known = list(boxes)
    return any(map(change.touches, known)) if known else bool(change)
