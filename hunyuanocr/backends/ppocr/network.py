"""What runs an ONNX network on the CPU: OpenVINO or onnxruntime behind one small interface.

A network takes batches of uint8 pictures [n, h, w, c] (c = 3: blue, green, red; c = 1: grey) and normalises them itself to
-1 … 1, as PP-OCR's networks were trained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Output = NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """`threads` in all; `streams` batches are computed side by side where the engine can.

    `kernels` are kept for input sizes met before, where the engine makes them by size: a new size costs a little time,
    every kept one memory. `half` lets 16-bit floats be used where the processor has them.
    """

    threads: int
    streams: int = 1
    kernels: int = 5000
    half: bool = True


class Network(ABC):
    """A loaded network. `shape` is its input [n, c, h, w], None where any size goes; `metadata` what the file says of itself."""

    shape: tuple[int | None, int | None, int | None, int | None]
    metadata: Mapping[str, str]

    @abstractmethod
    def run(self, batches: Iterable[Pictures]) -> Iterator[Output]:
        """One output a batch, in order; an output is valid until the next is asked for. Callable from several threads.

        Batches are taken a few ahead. Closing the iterator waits for what is under way and starts nothing more.
        """


def picture_shape(dimensions: list[Any]) -> tuple[int | None, int | None, int | None, int | None]:
    """Check an input's dimensions (an int, or anything else for "any"): four of them, with 1 or 3 channels."""
    sizes = [d if isinstance(d, int) and d > 0 else None for d in dimensions]
    if len(sizes) != 4 or sizes[1] not in {None, 1, 3}:
        raise ValueError(f"its input is {dimensions}, but pictures [n, 1 or 3, height, width] are wanted")
    return sizes[0], sizes[1], sizes[2], sizes[3]
