"""Attention over runs of the KV pool: flash attention on a GPU, at lengths that lie on the device; dot products elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.kv_cache import KvCache


@dataclass(frozen=True, eq=False)
class DecodeBatch:
    """The requests of a decode step: `slot_mapping` int64 [rows], where in the pool the newest token of each stands.

    On the device `seq_starts` int32 [rows + 1] (the last is padding) and `context_lens` int32 [rows], its newest token included;
    on the host the same as `host_spans` [(start, length)], None inside a CUDA graph, where the host knows nothing.
    """

    slot_mapping: Tensor
    seq_starts: Tensor
    context_lens: Tensor
    host_spans: Sequence[tuple[int, int]] | None


class Attention(Protocol):
    """Queries are [tokens, heads, dim]; so is what comes back. The tokens' own keys and values are in the pool already."""

    pool: KvCache

    def prefill(self, layer: int, q: Tensor, start: int, before: int) -> Tensor:
        """Tokens `before` … of the run at `start`, each seeing itself and all before it."""

    def decode(self, layer: int, q: Tensor, rows: DecodeBatch) -> Tensor:
        """One token of each request."""


class SdpaAttention:
    """Any device and format. A run is a slice of the pool, so nothing is copied, but every request is a launch of its own."""

    def __init__(self, pool: KvCache) -> None:
        self.pool = pool

    def prefill(self, layer: int, q: Tensor, start: int, before: int) -> Tensor:
        """See Attention."""
        k, v = self.pool.view(layer, start, before + len(q))
        mask = None
        if before:  # `is_causal` would let the first new token see the first old one only
            mask = torch.ones(len(q), before + len(q), dtype=torch.bool, device=q.device).tril(diagonal=before)
        q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return out[0].transpose(0, 1)

    def decode(self, layer: int, q: Tensor, rows: DecodeBatch) -> Tensor:
        """See Attention. The heads that share a key become queries of one head: no key is repeated."""
        if rows.host_spans is None:
            raise ValueError("this kernel needs the runs on the host")
        out = torch.empty_like(q)
        heads, dim = q.shape[1:]
        for n, (start, length) in enumerate(rows.host_spans):
            k, v = (t.transpose(0, 1)[None] for t in self.pool.view(layer, start, length))
            grouped = q[n].view(1, k.shape[1], heads // k.shape[1], dim)
            out[n] = F.scaled_dot_product_attention(grouped, k, v).view(heads, dim)
        return out


class FlashAttention:
    """CUDA, 16 bits: PyTorch's flash attention 2 for sequences of any length, all requests in one launch.

    It takes where each sequence starts and how much of it is used; the starts need not be in order, so they may be any runs.
    """

    def __init__(self, pool: KvCache, rows: int, longest: int) -> None:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 -- older releases lack it: the caller falls back

        self.pool = pool
        self._attend = varlen_attn
        self._longest = longest
        self._chunk: tuple[tuple[int, int, int], Tensor] = (-1, -1, -1), torch.empty(0)
        self._one_each = torch.arange(rows + 1, dtype=torch.int32, device=pool.keys[0].device)

    def prefill(self, layer: int, q: Tensor, start: int, before: int) -> Tensor:
        """See Attention."""
        if self._chunk[0] != (start, before, len(q)):  # the same for all layers: sent to the device once
            sent = torch.tensor([[0, len(q)], [start, start], [before + len(q), 0]], dtype=torch.int32, device=q.device)
            self._chunk = (start, before, len(q)), sent
        bounds, starts, used = self._chunk[1]
        return self._attend(  # type: ignore[return-value]
            q.contiguous(), self.pool.keys[layer], self.pool.values[layer], bounds, starts, len(q), before + len(q),
            window_size=(-1, 0), enable_gqa=True, seqused_k=used[:1],
        )  # fmt: skip

    def decode(self, layer: int, q: Tensor, rows: DecodeBatch) -> Tensor:
        """See Attention."""
        return self._attend(  # type: ignore[return-value]
            q.contiguous(), self.pool.keys[layer], self.pool.values[layer], self._one_each[: len(q) + 1], rows.seq_starts,
            1, self._longest, enable_gqa=True, seqused_k=rows.context_lens,
        )  # fmt: skip
