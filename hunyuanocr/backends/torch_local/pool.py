"""The KV cache: one pool of pages of 256 tokens for all requests; a request holds as many as its prompt and answer may fill.

Pages are given at admission for the whole answer, so a request that runs never waits for memory and is never thrown out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAGE = 256
"""Tokens of a page; what paged flash attention asks for."""


class KvPool:
    """`keys[layer]` and `values[layer]` are [pages, PAGE, kv_heads, head_dim]. Page 0 is scratch for padded rows of a batch."""

    def __init__(self, *, layers: int, heads: int, dim: int, tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        self.pages = tokens // PAGE
        shape = (self.pages + 1, PAGE, heads, dim)
        # Zeros, because a masked position is multiplied by zero, and memory that was never written may hold NaN.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self._free = list(range(1, self.pages + 1))

    @property
    def free_tokens(self) -> int:
        """Tokens that pages nobody holds have room for."""
        return len(self._free) * PAGE

    def fits(self, tokens: int) -> bool:
        """Whether a request of so many tokens could ever run."""
        return pages_of(tokens) <= self.pages

    def allocate(self, tokens: int) -> list[int] | None:
        """Pages for so many tokens, None while too few are free. Neighbours where there are such: they need no gathering."""
        need = pages_of(tokens)
        if need > len(self._free):
            return None
        at = next((n for n in range(len(self._free) - need + 1) if self._free[n + need - 1] - self._free[n] == need - 1), 0)
        taken = self._free[at : at + need]
        del self._free[at : at + need]
        return taken

    def release(self, pages: list[int]) -> None:
        """Take pages back; nothing is cleared, a later holder writes before it reads."""
        self._free = sorted(self._free + pages)

    def run(self, layer: int, pages: list[int], length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `length` tokens on `pages`, [length, heads, dim]; views where they are neighbours."""
        keys, values = self.keys[layer], self.values[layer]
        used = pages[: pages_of(length)]
        if used[-1] - used[0] == len(used) - 1:
            which: slice | Tensor = slice(used[0], used[-1] + 1)
        else:
            which = torch.tensor(used, device=keys.device)
        return keys[which].flatten(0, 1)[:length], values[which].flatten(0, 1)[:length]


def pages_of(tokens: int) -> int:
    """Pages that hold so many tokens."""
    return -(-tokens // PAGE)


@dataclass(frozen=True)
class Budget:
    """How the memory is shared out, in bytes; `str()` prints the arithmetic."""

    total: int
    runtime: int  # the driver's context and its libraries' work space
    weights: int
    work: int  # activations of the largest picture, the logits
    token: int  # one token's keys and values in all layers

    @property
    def tokens(self) -> int:
        """Tokens that the pool holds."""
        return max(0, self.total - self.runtime - self.weights - self.work) // self.token // PAGE * PAGE

    def __str__(self) -> str:
        gb = [f"{part / 1e9:.2f}" for part in (self.total, self.runtime, self.weights, self.work, self.tokens * self.token)]
        return (
            f"memory {gb[0]} GB = runtime {gb[1]} + weights {gb[2]} + work {gb[3]} + KV cache {gb[4]}"
            f" ({self.tokens} tokens of {self.token / 1024:.0f} KiB)"
        )
