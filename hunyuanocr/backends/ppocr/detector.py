"""The DB text detector (Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", AAAI 2020).

The network returns a probability map of shrunken text lines; each component becomes a rectangle, expanded by the method's rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hunyuanocr.backends.ppocr.network import Network
from hunyuanocr.backends.ppocr.strips import merge_strips, strips

Quads = NDArray[np.float32]  # [n, 4, 2], clockwise from the top-left corner, pixels of the page

_STEP = 64  # of the input's sides: a multiple of the stride 32, coarse so that few sizes occur
_MIN_SIDE = 3  # of a component, in pixels of the map
_MAX_COMPONENTS = 3000


@dataclass(frozen=True)
class DetectorOptions:
    """`long_side` and `pixels` limit the network's input; small images are enlarged to `short_side`, at most `enlarge` times.

    `threshold` binarises the map, `box_threshold` is the minimum mean probability of a box, `unclip_ratio` DB's expansion.
    """

    long_side: int = 2048
    pixels: int = 2048 * 2048
    short_side: int = 736
    enlarge: float = 2.0
    threshold: float = 0.3
    box_threshold: float = 0.5
    unclip_ratio: float = 1.6


class Detector:
    """Detects the text lines of a page."""

    def __init__(self, network: Network, options: DetectorOptions) -> None:
        self.network = network
        self._options = options

    def __call__(self, page: NDArray[np.uint8]) -> Quads:
        """Return the quads of a page (uint8 RGB [h, w, 3]) in page pixels, in no particular order.

        A very long or wide page is processed in overlapping strips.
        """
        rows, columns = page.shape[:2]
        ranges = strips(columns, rows, self._options.long_side, self._options.pixels)
        if not ranges:
            return self._detect(page)
        upright, found = rows >= columns, []
        for start, end in ranges:
            offset = np.array([0, start] if upright else [start, 0], np.float32)
            found.append(self._detect(page[start:end] if upright else page[:, start:end]) + offset)
        merged = merge_strips(found, ranges, 1 if upright else 0)
        return np.array([clockwise(quad) for quad in merged], np.float32).reshape(-1, 4, 2)

    def _detect(self, page: NDArray[np.uint8]) -> Quads:
        rows, columns = page.shape[:2]
        width, height = self.input_size(columns, rows)
        reduced = width * height < columns * rows
        image = cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA if reduced else cv2.INTER_LINEAR)
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # as in the network's training
        for output in self.network.run([image[None]]):
            quads = self._boxes(output[0, 0])
        quads *= np.array([columns / width, rows / height], np.float32)
        return np.clip(quads, 0, np.array([columns, rows], np.float32))

    def input_size(self, columns: int, rows: int) -> tuple[int, int]:
        """Return width and height of the network's input for a page of this size, in pixels."""
        limits = self._options
        scale = min(max(1.0, limits.short_side / min(columns, rows)), limits.enlarge, limits.long_side / max(columns, rows))
        scale = min(scale, (limits.pixels / (columns * rows)) ** 0.5)
        max_side = limits.long_side // _STEP * _STEP
        width, height = (min(max_side, max(_STEP, round(side * scale / _STEP) * _STEP)) for side in (columns, rows))
        return width, height

    def _boxes(self, probabilities: NDArray[np.float32]) -> Quads:
        mask = (probabilities > self._options.threshold).astype(np.uint8)
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))  # reconnects lines that the threshold broke
        contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)  # includes text inside a round seal
        outer = [c for c, (_, _, _, parent) in zip(contours, tree[0] if contours else (), strict=True) if parent < 0]
        boxes = [self._box(probabilities, contour) for contour in outer[:_MAX_COMPONENTS]]
        quads = [quad for quad in boxes if quad is not None]
        return np.stack(quads) if quads else np.zeros((0, 4, 2), np.float32)

    def _box(self, probabilities: NDArray[np.float32], contour: NDArray[np.int32]) -> NDArray[np.float32] | None:
        middle, (wide, high), angle = cv2.minAreaRect(contour)
        if min(wide, high) < _MIN_SIDE:
            return None
        corners = cv2.boxPoints((middle, (wide, high), angle))
        if _mean_inside(probabilities, corners) < self._options.box_threshold:
            return None
        # DB offsets the rectangle by area · ratio / perimeter. The bounding rectangle of that is larger by twice the offset.
        growth = wide * high * self._options.unclip_ratio / (wide + high)
        return clockwise(cv2.boxPoints((middle, (wide + growth, high + growth), angle)))


def _mean_inside(probabilities: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    left, top = np.floor(corners.min(0)).astype(int).clip(0)
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    window = probabilities[top:bottom, left:right]
    inside = np.zeros(window.shape, np.uint8)
    cv2.fillConvexPoly(inside, np.rint(corners - [left, top]).astype(np.int32), 1)
    return float(cv2.mean(window, inside)[0])


def clockwise(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the corners of a rectangle [4, 2] clockwise from the top-left one: the upper of the two left ones."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = (pair[np.argsort(pair[:, 1], kind="stable")] for pair in (by_x[:2], by_x[2:]))
    return np.stack([left[0], right[0], right[1], left[1]]).astype(np.float32)
