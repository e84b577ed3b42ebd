"""The decode step as CUDA graphs, one for each batch size: a step is two launches and not a thousand.

Two graphs a size, so that the host can prepare the grammar's masks while the first one runs: `forward` (tokens → logits) and
`sample` (logits → tokens). A smaller batch is padded with the scratch slot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_WARM_UP = 2  # runs before a capture, for libraries that allocate at their first call


@dataclass(frozen=True)
class _Graph:
    rows: Tensor
    logits: Tensor
    forward: torch.cuda.CUDAGraph
    sample: torch.cuda.CUDAGraph


class CudaGraphs:
    """Captured for 1, 2, 4, … rows. `forward(rows)` and `pick(rows, logits)` are the step's two halves on device tensors."""

    def __init__(
        self, slots: int, scratch: int, device: torch.device,
        forward: Callable[[Tensor], Tensor], pick: Callable[[Tensor, Tensor], None],
    ) -> None:  # fmt: skip
        self._scratch = scratch
        self._graphs: dict[int, _Graph] = {}
        self._last: dict[int, list[int]] = {}  # the rows that each graph holds now
        self._pool = torch.cuda.graph_pool_handle()
        sizes = [n for n in (1, 2, 4, 8, 16, 32, 64) if n < 2 * slots]
        for size in reversed(sizes):  # the largest first: the smaller ones find room in its memory
            rows = torch.full((size,), scratch, dtype=torch.int64, device=device)
            self._graphs[size] = self._captured(rows, forward, pick)

    def _captured(self, rows: Tensor, forward: Callable[[Tensor], Tensor], pick: Callable[[Tensor, Tensor], None]) -> _Graph:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                pick(rows, forward(rows))
        torch.cuda.current_stream().wait_stream(aside)
        first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(first, pool=self._pool):
            logits = forward(rows)
        with torch.cuda.graph(second, pool=self._pool):
            pick(rows, logits)
        return _Graph(rows, logits, first, second)

    def forward(self, slots: list[int]) -> int:
        """Logits of these slots' next tokens; returns the size of the graph, for `sample`."""
        size = min(n for n in self._graphs if n >= len(slots))
        padded = slots + [self._scratch] * (size - len(slots))
        graph = self._graphs[size]
        if self._last.get(size) != padded:
            graph.rows.copy_(torch.tensor(padded).pin_memory(), non_blocking=True)
            self._last[size] = padded
        graph.forward.replay()
        return size

    def logits(self, size: int) -> Tensor:
        """What the last `forward` of this size computed, [size, vocabulary]."""
        return self._graphs[size].logits

    def sample(self, size: int) -> None:
        """Tokens from the logits of the last `forward`."""
        self._graphs[size].sample.replay()
