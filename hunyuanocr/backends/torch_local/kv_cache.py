"""The KV cache: one pool of tokens for all requests; each holds a run of it, as long as its prompt and answer may become.

A run is given at admission for the whole answer, so a request that runs never waits for memory and is never thrown out. Runs and
not scattered pages, because the attention kernels that come with PyTorch for every card read runs; those that read a block table
are for Hopper alone, and extra packages. A request whose run is not free waits for the next that ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_SIZE = 256
"""Tokens: the pool's size is a multiple of it, and so much is set aside at its start as scratch."""


class KvCache:
    """`keys[layer]` and `values[layer]` are [GRAIN + tokens, kv_heads, head_dim]. The first GRAIN are scratch for padded rows."""

    def __init__(self, *, layers: int, heads: int, dim: int, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        self.tokens = tokens
        # Zeros, because a masked position is multiplied by zero, and memory that was never written may hold NaN.
        self.keys, self.values = (
            [_cache((BLOCK_SIZE + tokens, heads, dim), dtype, device) for _ in range(layers)] for _ in range(2)
        )
        self._spans: dict[int, int] = {}  # start → end of the runs in use

    @property
    def free(self) -> int:
        """Tokens that are in no run."""
        return self.tokens - sum(end - start for start, end in self._spans.items())

    def allocate(self, tokens: int) -> int | None:
        """The start of a run, the first gap that is long enough; None while there is none."""
        start = BLOCK_SIZE
        for taken in sorted(self._spans):
            if taken - start >= tokens:
                break
            start = self._spans[taken]
        if start + tokens > BLOCK_SIZE + self.tokens:
            return None
        self._spans[start] = start + tokens
        return start

    def release(self, start: int) -> None:
        """Take a run back; nothing is cleared, a later holder writes before it reads."""
        del self._spans[start]

    def view(self, layer: int, start: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `length` tokens of a run, views [length, heads, dim]."""
        return self.keys[layer][start : start + length], self.values[layer][start : start + length]


def _cache(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros [tokens, heads, dim]. On a CPU the heads lie apart in memory: its dot products read one head after another."""
    tokens, heads, dim = shape
    if device.type == "cpu":
        return torch.zeros(heads, tokens, dim, dtype=dtype).transpose(0, 1)
    return torch.zeros(shape, dtype=dtype, device=device)


@dataclass(frozen=True)
class MemoryBudget:
    """How the memory is shared out, in bytes; `str()` prints the arithmetic."""

    total: int
    runtime: int  # the driver's context and its libraries' work space
    weights: int
    work: int  # activations of the largest picture, the logits
    token: int  # one token's keys and values in all layers

    @property
    def tokens(self) -> int:
        """Tokens that the pool holds."""
        return max(0, self.total - self.runtime - self.weights - self.work) // self.token // BLOCK_SIZE * BLOCK_SIZE

    def __str__(self) -> str:
        gb = [f"{part / 1e9:.2f}" for part in (self.total, self.runtime, self.weights, self.work, self.tokens * self.token)]
        return (
            f"memory {gb[0]} GB = runtime {gb[1]} + weights {gb[2]} + work {gb[3]} + KV cache {gb[4]}"
            f" ({self.tokens} tokens of {self.token / 1024:.0f} KiB)"
        )
