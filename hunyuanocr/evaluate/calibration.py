"""Whether stated confidences and doubts can be relied on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_BINS = 10


@dataclass(frozen=True)
class Stated:
    """One asked key: the stated probability that the answer (or the null) is right, whether it is doubted, and the truth."""

    probability: float
    doubted: bool
    right: bool


def calibration(stated: Sequence[Stated]) -> dict[str, Any] | None:
    """Return figures over all asked keys, or None if there are none.

    `ece`: expected calibration error over ten bins of equal width (Naeini et al., 2015). `auroc`: probability that a right answer
    has a higher confidence than a wrong one. `doubted`: share of keys with a doubt; `caught`: share of the wrong ones among them.
    `bins`: for each bin its keys, mean confidence and share right. `trade_off`: if the least certain tenth, fifth … of all keys
    were checked, the share of the wrong ones that would be found.
    """
    if not stated:
        return None
    p, right = np.array([s.probability for s in stated]), np.array([s.right for s in stated])
    doubted, wrong = np.array([s.doubted for s in stated]), ~right
    number = np.minimum((p * _BINS).astype(int), _BINS - 1)
    bins = [(n, number == n) for n in range(_BINS) if (number == n).any()]
    order = np.argsort(p, kind="stable")
    return {
        "keys": len(stated),
        "error": _round(wrong.mean()),
        "ece": _round(sum(abs(p[mask].sum() - right[mask].sum()) for _, mask in bins) / len(stated)),
        "auroc": _auroc(p, right),
        "doubted": _round(doubted.mean()),
        "caught": _round(doubted[wrong].mean()) if wrong.any() else None,
        "bins": [
            {"from": n / _BINS, "keys": int(m.sum()), "confidence": _round(p[m].mean()), "right": _round(right[m].mean())}
            for n, m in bins
        ],
        "trade_off": [
            {
                "checked": share,
                "caught": _round(wrong[order[: round(share * len(p))]].sum() / wrong.sum()) if wrong.any() else None,
            }
            for share in (0.05, 0.1, 0.2, 0.3, 0.5)
        ],
    }


def _auroc(p: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float | None:
    good, bad = p[right], p[~right]
    if not len(good) or not len(bad):
        return None
    return _round((good[:, None] > bad[None]).mean() + 0.5 * (good[:, None] == bad[None]).mean())


def _round(value: Any) -> float:
    return round(float(value), 4)
