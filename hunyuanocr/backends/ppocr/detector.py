"""Where text stands: the DB detector (Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", AAAI 2020).

The network gives a probability map of shrunken text lines; each blob becomes a rectangle, grown back by the method's own rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.network import Network

Quads = NDArray[np.float32]  # [n, 4, 2], clockwise from the top-left corner, pixels of the page

_STEP = 64  # sizes of the network's input: a multiple of its stride 32, coarse so that few sizes are met
_MIN_SIDE = 3  # of a blob, in pixels of the map
_MAX_BLOBS = 3000


@dataclass(frozen=True)
class DetectorOptions:
    """`long_side` and `pixels` cap the network's input, `short_side` is what small pictures are enlarged to (at most `enlarge`
    times).

    `threshold` cuts the map, `box_threshold` is the least mean probability of a box, `grow` DB's unclip ratio.
    """

    long_side: int = 2048
    pixels: int = 2048 * 2048
    short_side: int = 736
    enlarge: float = 2.0
    threshold: float = 0.3
    box_threshold: float = 0.5
    grow: float = 1.6


class Detector:
    """Page → text line quadrilaterals."""

    def __init__(self, network: Network, options: DetectorOptions) -> None:
        self._network = network
        self._options = options

    def __call__(self, page: NDArray[np.uint8]) -> Quads:
        """`page` is uint8 [h, w, 3], blue-green-red. Returns quads in no particular order."""
        rows, columns = page.shape[:2]
        width, height = self.input_size(columns, rows)
        shrinks = width * height < columns * rows
        picture = cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        for output in self._network.run([picture[None]]):
            quads = self._boxes(output[0, 0])
        quads *= np.array([columns / width, rows / height], np.float32)
        return np.clip(quads, 0, np.array([columns, rows], np.float32))

    def input_size(self, columns: int, rows: int) -> tuple[int, int]:
        """Width and height of the network's input for a page of this size."""
        wanted = self._options
        scale = min(max(1.0, wanted.short_side / min(columns, rows)), wanted.enlarge, wanted.long_side / max(columns, rows))
        scale = min(scale, (wanted.pixels / (columns * rows)) ** 0.5)
        most = wanted.long_side // _STEP * _STEP
        width, height = (min(most, max(_STEP, round(side * scale / _STEP) * _STEP)) for side in (columns, rows))
        return width, height

    def _boxes(self, chances: NDArray[np.float32]) -> Quads:
        mask = (chances > self._options.threshold).astype(np.uint8)
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))  # mends lines that the cut broke
        blobs, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)  # also what stands inside a round seal
        outer = [blob for blob, (_, _, _, parent) in zip(blobs, tree[0] if blobs else (), strict=True) if parent < 0]
        found = [self._box(chances, blob) for blob in outer[:_MAX_BLOBS]]
        quads = [quad for quad in found if quad is not None]
        return np.stack(quads) if quads else np.zeros((0, 4, 2), np.float32)

    def _box(self, chances: NDArray[np.float32], blob: NDArray[np.int32]) -> NDArray[np.float32] | None:
        middle, (wide, high), angle = cv2.minAreaRect(blob)
        if min(wide, high) < _MIN_SIDE:
            return None
        corners = cv2.boxPoints((middle, (wide, high), angle))
        if _mean_inside(chances, corners) < self._options.box_threshold:
            return None
        # Offsetting a rectangle by a distance and taking the least rectangle around it just adds the distance on every side.
        by = wide * high * self._options.grow / (wide + high)
        return clockwise(cv2.boxPoints((middle, (wide + by, high + by), angle)))


def _mean_inside(chances: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    left, top = np.floor(corners.min(0)).astype(int).clip(0)
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    window = chances[top:bottom, left:right]
    inside = np.zeros(window.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.rint(corners - [left, top]).astype(np.int32), 1)
    return float(cv2.mean(window, inside)[0])


def clockwise(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Four corners of a rectangle [4, 2] → clockwise from the top-left one: of the two left ones the upper is the first."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (by_x[:2], by_x[2:]))
    return np.stack([left[0], right[0], right[1], left[1]]).astype(np.float32)
