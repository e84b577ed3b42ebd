"""Attention over spans of the KV cache: flash attention on a GPU with lengths in device memory, SDPA elsewhere."""

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
    """KV cache locations of the sequences in a decode step.

    On the device: `slot_mapping` int64 [rows], the cache index of the newest token of each sequence; `seq_starts` int32
    [rows + 1], the start of each span (the last entry is padding); `context_lens` int32 [rows], tokens in the span including the
    newest. `host_spans` is [(start, context length)] on the host; None inside a CUDA graph.
    """

    slot_mapping: Tensor
    seq_starts: Tensor
    context_lens: Tensor
    host_spans: Sequence[tuple[int, int]] | None


class Attention(Protocol):
    """Queries and results are [tokens, heads, dim]. The keys and values of the new tokens are already in the cache."""

    kv_cache: KvCache

    def prefill(self, layer: int, q: Tensor, kv_start: int, num_cached: int) -> Tensor:
        """Causal attention of the prompt tokens from `num_cached` on, in the span that starts at `kv_start`."""

    def decode(self, layer: int, q: Tensor, batch: DecodeBatch) -> Tensor:
        """Attention of the newest token of each sequence."""


class SdpaAttention:
    """Any device and dtype. A span is a slice of the cache, so nothing is copied, but every sequence is a separate launch."""

    def __init__(self, kv_cache: KvCache) -> None:
        self.kv_cache = kv_cache

    def prefill(self, layer: int, q: Tensor, kv_start: int, num_cached: int) -> Tensor:
        """See Attention."""
        k, v = self.kv_cache.view(layer, kv_start, num_cached + len(q))
        mask = None
        if num_cached:  # `is_causal` aligns the mask to the top left: the first new token would see the first cached one only
            mask = torch.ones(len(q), num_cached + len(q), dtype=torch.bool, device=q.device).tril(diagonal=num_cached)
        q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return out[0].transpose(0, 1)

    def decode(self, layer: int, q: Tensor, batch: DecodeBatch) -> Tensor:
        """See Attention. Query heads that share a key head become queries of one head, so no key is repeated.

        Raises ValueError if `batch.host_spans` is None.
        """
        if batch.host_spans is None:
            raise ValueError("SDPA attention needs the spans on the host")
        out = torch.empty_like(q)
        heads, dim = q.shape[1:]
        for n, (start, length) in enumerate(batch.host_spans):
            k, v = (t.transpose(0, 1)[None] for t in self.kv_cache.view(layer, start, length))
            grouped = q[n].view(1, k.shape[1], heads // k.shape[1], dim)
            out[n] = F.scaled_dot_product_attention(grouped, k, v).view(heads, dim)
        return out


class FlashAttention:
    """CUDA, 16 bits: PyTorch's flash attention 2 for sequences of different lengths, all in one launch.

    The kernel takes the start and the used length of each sequence. Starts need not be ordered, so they may be any spans.
    """

    def __init__(self, kv_cache: KvCache, max_rows: int, max_length: int) -> None:
        """`max_rows` sequences of at most `max_length` tokens. Raises ImportError if this PyTorch release lacks the kernel."""
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 -- missing in older releases: the caller falls back

        self.kv_cache = kv_cache
        self._varlen_attn = varlen_attn
        self._max_length = max_length
        self._prefill_args: tuple[tuple[int, int, int], Tensor] = (-1, -1, -1), torch.empty(0)
        self._query_starts = torch.arange(max_rows + 1, dtype=torch.int32, device=kv_cache.keys[0].device)

    def prefill(self, layer: int, q: Tensor, kv_start: int, num_cached: int) -> Tensor:
        """See Attention."""
        key = kv_start, num_cached, len(q)
        if self._prefill_args[0] != key:  # the same for all layers: copied to the device once
            rows = [[0, len(q)], [kv_start, kv_start], [num_cached + len(q), 0]]
            self._prefill_args = key, torch.tensor(rows, dtype=torch.int32, device=q.device)
        query_bounds, starts, lengths = self._prefill_args[1]
        return self._varlen_attn(  # type: ignore[return-value]
            q.contiguous(),
            self.kv_cache.keys[layer],
            self.kv_cache.values[layer],
            query_bounds,
            starts,
            len(q),
            num_cached + len(q),
            window_size=(-1, 0),
            enable_gqa=True,
            seqused_k=lengths[:1],
        )

    def decode(self, layer: int, q: Tensor, batch: DecodeBatch) -> Tensor:
        """See Attention."""
        return self._varlen_attn(  # type: ignore[return-value]
            q.contiguous(),
            self.kv_cache.keys[layer],
            self.kv_cache.values[layer],
            self._query_starts[: len(q) + 1],
            batch.seq_starts,
            1,
            self._max_length,
            enable_gqa=True,
            seqused_k=batch.context_lens,
        )
