"""Reading order: rows from top to bottom, within a row from left to right, on pages that are turned or a little askew."""

from __future__ import annotations

import numpy as np

from hunyuanocr.backends.ppocr.crops import quad_sizes
from hunyuanocr.backends.ppocr.detector import Quads


def group_rows(quads: Quads, weights: np.typing.NDArray[np.float32]) -> list[list[int]]:
    """Indices of lines by row. `quads` [n, 4, 2] in their texts' own corner order; `weights` [n] say how much each counts
    for the direction in which the page reads (the number of characters, say)."""
    if len(quads) == 0:
        return []
    along = _direction(quads, weights)
    down = np.array([-along[1], along[0]])
    middles = quads.mean(1)
    x, y = middles @ along, middles @ down
    heights = quad_sizes(quads)[1]
    found: list[list[int]] = []
    for i in np.argsort(y, kind="stable"):
        if found:
            row = found[-1]
            near = abs(y[i] - y[row].mean()) <= 0.5 * min(float(heights[i]), float(np.median(heights[row])))
            # Two boxes one above the other do not share a row, however close their middles are.
            if near and not _above_one_another(quads, along, row, int(i)):
                row.append(int(i))
                continue
        found.append([int(i)])
    return [sorted(row, key=lambda i: float(x[i])) for row in found]


def _direction(quads: Quads, weights: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float64]:
    """Unit vector along which the page reads: the heaviest of the four quarters, then the median slope of its lines."""
    edges = (quads[:, 1] - quads[:, 0]) + (quads[:, 2] - quads[:, 3])
    angles = np.arctan2(edges[:, 1], edges[:, 0])
    quarter = np.rint(angles / (np.pi / 2)).astype(int) % 4
    heaviest = int(np.bincount(quarter, weights=weights, minlength=4).argmax())
    among = quarter == heaviest
    slopes = (angles[among] - heaviest * np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    long = np.linalg.norm(edges[among], axis=1)
    order = np.argsort(slopes)
    middle = order[np.searchsorted(np.cumsum(long[order]), long.sum() / 2)]  # the median by length: long lines know it best
    angle = heaviest * np.pi / 2 + slopes[middle]
    return np.array([np.cos(angle), np.sin(angle)])


def _above_one_another(quads: Quads, along: np.typing.NDArray[np.float64], row: list[int], other: int) -> bool:
    spans = quads @ along
    left, right = spans.min(1), spans.max(1)
    shared = np.minimum(right[row], right[other]) - np.maximum(left[row], left[other])
    least = np.minimum(right[row] - left[row], right[other] - left[other])
    return bool((shared > 0.5 * least).any())
