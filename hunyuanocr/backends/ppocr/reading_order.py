"""Reading order: rows from top to bottom, each from left to right, on pages that are rotated or slightly skewed."""

from __future__ import annotations

import numpy as np

from hunyuanocr.backends.ppocr.crops import quad_sizes
from hunyuanocr.backends.ppocr.detector import Quads


def group_rows(quads: Quads, weights: np.typing.NDArray[np.float32]) -> list[list[int]]:
    """Return the indices of lines by row, in reading order.

    `quads` [n, 4, 2] have their corners in reading order; `weights` [n] are those for the direction of the page, for example
    the number of characters.
    """
    if len(quads) == 0:
        return []
    along = _direction(quads, weights)
    down = np.array([-along[1], along[0]])
    middles = quads.mean(1)
    x, y = middles @ along, middles @ down
    heights = quad_sizes(quads)[1]
    rows: list[list[int]] = []
    for i in np.argsort(y, kind="stable"):
        if rows:
            row = rows[-1]
            near = abs(y[i] - y[row].mean()) <= 0.5 * min(float(heights[i]), float(np.median(heights[row])))
            # Boxes that overlap horizontally are in different rows, however close their centres are.
            if near and not _overlap_horizontally(quads, along, row, int(i)):
                row.append(int(i))
                continue
        rows.append([int(i)])
    return [sorted(row, key=lambda i: float(x[i])) for row in rows]


def _direction(quads: Quads, weights: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float64]:
    """Return the unit vector of the reading direction: the quarter with most weight, then the median slope of its lines."""
    edges = (quads[:, 1] - quads[:, 0]) + (quads[:, 2] - quads[:, 3])
    angles = np.arctan2(edges[:, 1], edges[:, 0])
    quarter = np.rint(angles / (np.pi / 2)).astype(int) % 4
    heaviest = int(np.bincount(quarter, weights=weights, minlength=4).argmax())
    among = quarter == heaviest
    slopes = (angles[among] - heaviest * np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
    long = np.linalg.norm(edges[among], axis=1)
    order = np.argsort(slopes)
    middle = order[np.searchsorted(np.cumsum(long[order]), long.sum() / 2)]  # the median by length: long lines are more accurate
    angle = heaviest * np.pi / 2 + slopes[middle]
    return np.array([np.cos(angle), np.sin(angle)])


def _overlap_horizontally(quads: Quads, along: np.typing.NDArray[np.float64], row: list[int], other: int) -> bool:
    spans = quads @ along
    left, right = spans.min(1), spans.max(1)
    shared = np.minimum(right[row], right[other]) - np.maximum(left[row], left[other])
    shorter = np.minimum(right[row] - left[row], right[other] - left[other])
    return bool((shared > 0.5 * shorter).any())
