"""The vision tower (transformers' own modules) run in pieces, so that a large picture does not hold up answers being written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def encode_in_chunks(tower: Any, patches: Tensor, grid: tuple[int, int], work: float) -> Iterator[Tensor | None]:
    """Yield None between pieces of about `work` multiplications, then the picture's embeddings [tokens, hidden].

    `patches` is [h·w, channels·patch²] for a grid of h × w patches; tokens are (h/2)·(w/2 + 1) + 2: rows with a newline each,
    between a begin and an end.
    """
    h, w = grid
    hidden = tower.embeddings(patches.to(tower.embeddings.patch_embedding.weight.dtype), [[1, h, w]])
    bounds = torch.tensor([0, h * w], dtype=torch.int32)  # on the host: the tower reads it in every layer
    config = tower.config
    layer_work = h * w * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    layer_work += 2 * (h * w) ** 2 * config.hidden_size
    piece = max(1, int(work / layer_work))
    for n, layer in enumerate(tower.layers):
        if n and n % piece == 0:
            yield None
        hidden = layer(hidden, cu_seqlens=bounds, max_seqlen=h * w, attention_mask=None)
    yield tower.patch_merger(hidden, size=(h, w))[0]
