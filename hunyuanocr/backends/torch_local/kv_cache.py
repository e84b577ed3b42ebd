"""The KV cache: one pool of tokens for all sequences; each holds a contiguous span for its prompt and longest output.

The span is reserved at admission, so a running sequence never waits for memory and is never preempted. Spans instead of paged
blocks: the attention kernels that PyTorch ships for every GPU read contiguous spans, while those that read a block table need
FlashAttention 3, a separate package that supports Hopper only. A sequence without a free span waits until another one finishes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_SIZE = 256
"""Tokens. The size of the pool is a multiple of it, and the first block is scratch."""


class KvCache:
    """`keys[layer]` and `values[layer]` are [BLOCK_SIZE + tokens, kv_heads, head_dim]. Padded rows write to the first block."""

    def __init__(self, *, layers: int, heads: int, dim: int, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        """`tokens` is the capacity without the scratch block."""
        self.tokens = tokens
        # Zeros: a masked position is multiplied by zero, and uninitialized memory may hold NaN.
        self.keys, self.values = (
            [_allocate_layer((BLOCK_SIZE + tokens, heads, dim), dtype, device) for _ in range(layers)] for _ in range(2)
        )
        self._spans: dict[int, int] = {}  # start → end of the spans in use

    @property
    def free(self) -> int:
        """Number of tokens outside of all spans."""
        return self.tokens - sum(end - start for start, end in self._spans.items())

    def allocate(self, tokens: int) -> int | None:
        """Reserve a span in the first gap of sufficient length. Return its start; None if there is no such gap."""
        start = BLOCK_SIZE
        for used in sorted(self._spans):
            if used - start >= tokens:
                break
            start = self._spans[used]
        if start + tokens > BLOCK_SIZE + self.tokens:
            return None
        self._spans[start] = start + tokens
        return start

    def release(self, start: int) -> None:
        """Free a span. Its contents stay: the next owner writes each token before it is read."""
        del self._spans[start]

    def view(self, layer: int, start: int, length: int) -> tuple[Tensor, Tensor]:
        """Return views of the keys and values of `length` tokens from `start`, each [length, kv_heads, head_dim]."""
        return self.keys[layer][start : start + length], self.values[layer][start : start + length]


def _allocate_layer(shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return zeros [tokens, heads, dim]. On a CPU heads are the outer dimension in memory: its kernels process head by head."""
    tokens, heads, dim = shape
    if device.type == "cpu":
        return torch.zeros(heads, tokens, dim, dtype=dtype).transpose(0, 1)
    return torch.zeros(shape, dtype=dtype, device=device)


@dataclass(frozen=True)
class MemoryBudget:
    """How the device memory is divided, in bytes. `str()` returns the sum in GB."""

    total: int
    runtime: int  # CUDA context and library workspaces
    weights: int
    work: int  # activations of the largest image, logits
    token: int  # keys and values of one token in all layers

    @property
    def tokens(self) -> int:
        """Capacity of the KV cache, tokens."""
        return max(0, self.total - self.runtime - self.weights - self.work) // self.token // BLOCK_SIZE * BLOCK_SIZE

    def __str__(self) -> str:
        parts = (self.total, self.runtime, self.weights, self.work, self.tokens * self.token)
        gb = [f"{part / 1e9:.2f}" for part in parts]
        return (
            f"memory {gb[0]} GB = runtime {gb[1]} + weights {gb[2]} + work {gb[3]} + KV cache {gb[4]}"
            f" ({self.tokens} tokens of {self.token / 1024:.0f} KiB)"
        )
