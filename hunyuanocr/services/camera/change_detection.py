"""Does a frame show what the last one showed? Told by pixels, so finely that one changed digit counts and noise does not.

A hash of 64 bits cannot see one digit of a page, and a hash of the bytes sees every grain of the sensor. So frames are compared
as small grey pictures of which only strokes are left (a band-pass: neither shadows nor grain), corrected for exposure, and in
squares of four pixels: the noisiest square of an unchanged scene is about three times as noisy as the median one, while a
digit changes its own squares by much more. Where so much noise lies on the picture that a digit might hide in it, the answer
is "changed": reading again costs time, an old answer for a new picture costs trust.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Quad

LONG_SIDE = 1024  # pixels: print that can be read at 2048, six pixels high at the least, is three pixels high
_FINE, _COARSE = 0.8, 31  # the band: a Gaussian of this sigma less a box of this side, in pixels
_SQUARE = 4
_TIMES_NOISE = 4.0  # of the median square: above it a square has changed
_MIN_DIFFERENCE = (
    4.0  # grey levels: bounds of that threshold; the upper one by the scale, for print that is scaled down has paler strokes
)
_MAX_DIFFERENCE = (1.0, 9.5)
_FIELDS = (16, 12)  # in which light is measured
_EXPOSURE = 1.45  # half a stop and a little: a camera's own doing
_RELIT = 24.0  # grey levels
_MARGIN = 3  # squares around a box: its edges are where digits begin


@dataclass(frozen=True, eq=False)
class SceneFingerprint:
    """The strokes of one frame (int8 [h, w]), its light (float32 [12, 16], grey levels), and the size of the upright original in
    pixels.
    """

    strokes: NDArray[np.int8]
    light: NDArray[np.float32]
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class ChangeMask:
    """What has changed between two scenes: bool [h, w], a cell for two pixels, and the size of the original they stand for."""

    cells: NDArray[np.bool_]
    width: int
    height: int

    def __bool__(self) -> bool:
        return bool(self.cells.any())

    def touches(self, box: Quad) -> bool:
        """Whether something changed in the box (pixels of the original) or close to it."""
        rows, columns = self.cells.shape
        xs, ys = [p[0] * columns / self.width for p in box], [p[1] * rows / self.height for p in box]
        top, left = max(0, int(min(ys)) - _MARGIN), max(0, int(min(xs)) - _MARGIN)
        return bool(self.cells[top : int(max(ys)) + _MARGIN + 1, left : int(max(xs)) + _MARGIN + 1].any())


def fingerprint(grey: NDArray[np.uint8], width: int, height: int) -> SceneFingerprint:
    """From a grey picture, uint8 [h, w], of an original of this size."""
    import cv2  # noqa: PLC0415 -- heavy: an API without cameras does without it

    fine = cv2.GaussianBlur(grey, (0, 0), _FINE)
    coarse = cv2.blur(grey, (_COARSE, _COARSE))
    strokes: NDArray[np.int8] = np.asarray(cv2.subtract(fine, coarse, dtype=cv2.CV_8S), np.int8)
    light = cv2.resize(grey, _FIELDS, interpolation=cv2.INTER_AREA).astype(np.float32)
    return SceneFingerprint(strokes, light, width, height)


def diff(before: SceneFingerprint, now: SceneFingerprint) -> ChangeMask:
    """What is different now. All of it, when the frames differ in size."""
    if before.strokes.shape != now.strokes.shape or (before.width, before.height) != (now.width, now.height):
        return full_change(now)
    import cv2  # noqa: PLC0415 -- heavy: an API without cameras does without it

    a, b = (scene.strokes.astype(np.float32) for scene in (before, now))
    difference = b - _gain(a, b) * a
    power = cv2.boxFilter(difference * difference, -1, (_SQUARE, _SQUARE))[::2, ::2]
    squares = np.sqrt(np.maximum(power, 0.0))  # a running sum may end a hair below zero
    noise = float(np.median(squares[::2, ::2]))
    scale = max(now.strokes.shape) / max(now.width, now.height)
    limit = min(max(_TIMES_NOISE * noise, _MIN_DIFFERENCE), _MAX_DIFFERENCE[0] + _MAX_DIFFERENCE[1] * scale)
    cells = squares > limit
    return ChangeMask(cells | _relit(before.light, now.light, cells.shape), now.width, now.height)


def _relit(a: NDArray[np.float32], b: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where light has changed otherwise than a lamp or the exposure changes it: another sheet, a hand."""
    import cv2  # noqa: PLC0415 -- heavy: an API without cameras does without it

    gain = min(max(float(b.mean()) / max(float(a.mean()), 1.0), 1 / _EXPOSURE), _EXPOSURE)
    changed = (np.abs(b - gain * a) > _RELIT).astype(np.uint8)
    return np.asarray(cv2.resize(changed, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST), np.bool_)


def full_change(scene: SceneFingerprint) -> ChangeMask:
    """A change of the whole picture."""
    return ChangeMask(np.ones((1, 1), np.bool_), scene.width, scene.height)


def _gain(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """By how much the contrast has changed: exposure, a lamp."""
    own = float(np.vdot(a, a))
    return min(max(float(np.vdot(a, b)) / own, 0.5), 2.0) if own > 0 else 1.0


def any_changed(change: ChangeMask | None, boxes: Iterable[Quad]) -> bool:
    """Whether any of the boxes changed; without boxes, whether anything did. An unknown change touches all."""
    if change is None:
        return True
    known = list(boxes)
    return any(map(change.touches, known)) if known else bool(change)
