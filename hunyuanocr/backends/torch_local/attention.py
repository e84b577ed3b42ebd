"""Attention over the paged KV cache: flash attention with a block table on a GPU, dot products over runs of pages elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.pool import PAGE, KvPool


class Attention(Protocol):
    """Queries are [tokens, heads, dim]; so is what comes back. The tokens' own keys and values are in the pool already."""

    pool: KvPool

    def prefill(self, layer: int, q: Tensor, pages: list[int], start: int) -> Tensor:
        """Tokens start … start + len(q) - 1 of one request, each seeing itself and all before it."""

    def decode(self, layer: int, q: Tensor, rows: Rows) -> Tensor:
        """One token of each request."""


class Rows:
    """The requests of a decode step. Device tensors for a kernel that reads a block table, host numbers for one that does not.

    `at` int64 [rows]: flat positions in the pool of the new tokens; `lengths` int32 [rows] and `table` int32 [rows, columns]
    for paged kernels; `pages` and `counts` the same on the host (None inside a CUDA graph).
    """

    def __init__(
        self, at: Tensor, lengths: Tensor, table: Tensor, pages: Sequence[list[int]] | None, counts: Sequence[int] | None
    ) -> None:
        self.at, self.lengths, self.table, self.pages, self.counts = at, lengths, table, pages, counts


class PagedSdpa:
    """Any device. A request's pages are mostly neighbours, so its keys are a slice of the pool and nothing is copied."""

    def __init__(self, pool: KvPool) -> None:
        self.pool = pool

    def prefill(self, layer: int, q: Tensor, pages: list[int], start: int) -> Tensor:
        """See Attention."""
        count = len(q)
        k, v = self.pool.run(layer, pages, start + count)
        k, v, q = (t.transpose(0, 1)[None] for t in (k, v, q))
        mask = None
        if start:  # `is_causal` would let the first new token see the first old one only
            ahead = torch.ones(count, start + count, dtype=torch.bool, device=q.device)
            mask = ahead.tril(diagonal=start)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return out[0].transpose(0, 1)

    def decode(self, layer: int, q: Tensor, rows: Rows) -> Tensor:
        """See Attention. The heads that share a key become queries of one head: no key is repeated."""
        if rows.pages is None or rows.counts is None:
            raise ValueError("this kernel needs the rows' pages on the host")
        out = torch.empty_like(q)
        heads, dim = q.shape[1:]
        for n, (pages, count) in enumerate(zip(rows.pages, rows.counts, strict=True)):
            k, v = self.pool.run(layer, pages, count)
            shared = k.shape[1]
            found = F.scaled_dot_product_attention(
                q[n].view(1, shared, heads // shared, dim), k.transpose(0, 1)[None], v.transpose(0, 1)[None]
            )
            out[n] = found.view(heads, dim)
        return out


class PagedFlash:
    """CUDA: `torch.nn.attention.varlen`, which reads the block table itself, at lengths that lie on the device."""

    def __init__(self, pool: KvPool, rows: int) -> None:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 -- older releases lack it: the caller falls back

        self.pool = pool
        self._attend = varlen_attn
        device = pool.keys[0].device
        self._one_each = torch.arange(rows + 1, dtype=torch.int32, device=device)

    def prefill(self, layer: int, q: Tensor, pages: list[int], start: int) -> Tensor:
        """See Attention."""
        device, total = q.device, start + len(q)
        bounds = torch.tensor([0, len(q)], dtype=torch.int32, device=device)
        used = torch.tensor([total], dtype=torch.int32, device=device)
        table = torch.tensor([pages], dtype=torch.int32, device=device)
        return self._attend(  # type: ignore[return-value]
            q.contiguous(), self.pool.keys[layer], self.pool.values[layer], bounds, None, len(q), len(pages) * PAGE,
            window_size=(-1, 0), enable_gqa=True, seqused_k=used, block_table=table,
        )  # fmt: skip

    def decode(self, layer: int, q: Tensor, rows: Rows) -> Tensor:
        """See Attention."""
        bounds = self._one_each[: len(q) + 1]
        return self._attend(  # type: ignore[return-value]
            q.contiguous(), self.pool.keys[layer], self.pool.values[layer], bounds, None, 1, rows.table.shape[1] * PAGE,
            enable_gqa=True, seqused_k=rows.lengths, block_table=rows.table,
        )  # fmt: skip
