"""The vision tower of transformers, run in chunks of layers, so that a large image does not stall the sequences that decode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def encode_in_chunks(tower: Any, patches: Tensor, grid: tuple[int, int], work: float) -> Iterator[Tensor | None]:
    """Yield None between chunks of about `work` multiplications, then the image's embeddings [tokens, hidden].

    `patches` is [h·w, channels·patch²] for a `grid` of h × w patches. The image has (h/2)·(w/2 + 1) + 2 tokens: one per 2 × 2
    patches, a newline per row, a begin and an end token.
    """
    h, w = grid
    hidden = tower.embeddings(patches.to(tower.embeddings.patch_embedding.weight.dtype), [[1, h, w]])
    cu_seqlens = torch.tensor([0, h * w], dtype=torch.int32)  # on the host, because every layer reads it
    config = tower.config
    layer_work = h * w * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    layer_work += 2 * (h * w) ** 2 * config.hidden_size
    layers_per_chunk = max(1, int(work / layer_work))
    for n, layer in enumerate(tower.layers):
        if n and n % layers_per_chunk == 0:
            yield None
        hidden = layer(hidden, cu_seqlens=cu_seqlens, max_seqlen=h * w, attention_mask=None)
    yield tower.patch_merger(hidden, size=(h, w))[0]
