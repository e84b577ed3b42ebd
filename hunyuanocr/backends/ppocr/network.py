"""The interface of an ONNX network on the CPU; `runtime_openvino` and `runtime_onnxruntime` implement it.

A network takes batches of uint8 images [n, h, w, c] (c = 3: blue, green, red; c = 1: grey) and normalises them to -1 … 1, as
PP-OCR's networks were trained.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Output = NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """`threads` in total; `streams` batches run concurrently if the runtime supports it.

    `kernels` is the number of cached kernels, for a runtime that compiles one per input size: a new size costs time, a cached
    one memory. `half` permits 16-bit floats if the processor supports them.
    """

    threads: int
    streams: int = 1
    kernels: int = 5000
    half: bool = True


class Network(ABC):
    """A loaded network. `shape` is its input [n, c, h, w], None for a dynamic size; `metadata` is that of the file."""

    shape: tuple[int | None, int | None, int | None, int | None]
    metadata: Mapping[str, str]

    @abstractmethod
    def run(self, batches: Iterable[Images]) -> Iterator[Output]:
        """Yield one output per batch, in order; an output is valid until the next is requested. Thread-safe.

        A few batches are taken in advance. Closing the iterator waits for running batches and starts no more.
        """


def picture_shape(dimensions: list[Any]) -> tuple[int | None, int | None, int | None, int | None]:
    """Return an input's four dimensions, None for a dynamic one. Raises ValueError unless it has 1 or 3 channels."""
    sizes = [d if isinstance(d, int) and d > 0 else None for d in dimensions]
    if len(sizes) != 4 or sizes[1] not in {None, 1, 3}:
        raise ValueError(f"its input is {dimensions}; expected [n, 1 or 3, height, width]")
    return sizes[0], sizes[1], sizes[2], sizes[3]
