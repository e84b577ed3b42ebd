"""The decode step as CUDA graphs, one pair per batch size: two launches per step instead of about a thousand.

Two graphs per size, so that the host can prepare the grammar masks while the first one runs: `forward` (tokens → logits) and
`sample` (logits → tokens). A smaller batch is padded with the scratch slot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_WARM_UP_RUNS = 2  # before a capture, for libraries that allocate on their first call
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)

Forward = Callable[[Tensor], Tensor]
"""Slots int64 [rows] → logits [rows, vocabulary]."""
Sample = Callable[[Tensor, Tensor], None]
"""Slots and logits; updates the batch state."""


@dataclass(frozen=True)
class _GraphPair:
    slots: Tensor
    logits: Tensor
    forward: torch.cuda.CUDAGraph
    sample: torch.cuda.CUDAGraph


class CudaGraphs:
    """Graphs of batch sizes 1, 2, 4, … up to at least `max_num_seqs`. Raises RuntimeError if a capture fails."""

    def __init__(self, max_num_seqs: int, scratch: int, device: torch.device, forward: Forward, sample: Sample) -> None:
        """`scratch` is the slot that pads smaller batches."""
        self._scratch = scratch
        self._graphs: dict[int, _GraphPair] = {}
        self._last_slots: dict[int, list[int]] = {}  # contents of each graph's `slots`, by batch size
        self._pool = torch.cuda.graph_pool_handle()
        sizes = [n for n in _BATCH_SIZES if n < 2 * max_num_seqs]
        for size in reversed(sizes):  # the largest first: the smaller ones reuse its memory
            slots = torch.full((size,), scratch, dtype=torch.int64, device=device)
            self._graphs[size] = self._capture(slots, forward, sample)

    def _capture(self, slots: Tensor, forward: Forward, sample: Sample) -> _GraphPair:
        warm_up = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):
            for _ in range(_WARM_UP_RUNS):
                sample(slots, forward(slots))
        torch.cuda.current_stream().wait_stream(warm_up)
        first, second = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(first, pool=self._pool):
            logits = forward(slots)
        with torch.cuda.graph(second, pool=self._pool):
            sample(slots, logits)
        return _GraphPair(slots, logits, first, second)

    def forward(self, slots: list[int]) -> int:
        """Launch the logits of these slots' next tokens. Return the batch size of the graph, for `logits` and `sample`."""
        size = min(n for n in self._graphs if n >= len(slots))
        padded = slots + [self._scratch] * (size - len(slots))
        graph = self._graphs[size]
        if self._last_slots.get(size) != padded:
            graph.slots.copy_(torch.tensor(padded).pin_memory(), non_blocking=True)
            self._last_slots[size] = padded
        graph.forward.replay()
        return size

    def logits(self, size: int) -> Tensor:
        """Return the logits of the last `forward` of this batch size, [size, vocabulary]."""
        return self._graphs[size].logits

    def sample(self, size: int) -> None:
        """Launch the sampling from the logits of the last `forward` of this batch size."""
        self._graphs[size].sample.replay()
