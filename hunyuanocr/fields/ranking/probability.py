"""The probability that an answer is right, from its features: a mean of small networks with one hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Probability:
    """Weights: features are centred and scaled; each of the networks has tanh units and one sigmoid output.

    `mean`, `scale`: [features]. `hidden`: [networks, units, features + 1]. `output`: [networks, units + 1]. The last weight of
    each unit is its bias.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    hidden: NDArray[np.float64]
    output: NDArray[np.float64]

    @classmethod
    def of(cls, stored: dict[str, list[float]]) -> Probability:
        """Return the weights from JSON."""
        return cls(**{name: np.array(values) for name, values in stored.items()})

    def __call__(self, features: Sequence[float]) -> float:
        """Return the probability for one vector of features."""
        x = np.append((np.asarray(features) - self.mean) / self.scale, 1.0)
        units = np.tanh(self.hidden @ x)
        scores = (units * self.output[:, :-1]).sum(1) + self.output[:, -1]
        return float((1 / (1 + np.exp(-scores))).mean())
