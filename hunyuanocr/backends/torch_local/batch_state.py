"""Per-sequence state of the decode step in fixed device tensors, so that the same step runs eagerly and in a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import DecodeBatch


class BatchState:
    """State by slot. The last slot is scratch: it pads batches that are smaller than their CUDA graph.

    - `ids` int64 [slots]: the newest token, not yet in the KV cache; `positions` int64 [slots]: its position in the sequence
    - `kv_starts` int64 [slots]: start of the sequence's KV span
    - `seen` bool [slots, vocabulary]: tokens that the repetition penalty applies to; `penalties` float32 [slots]
    - `masks` int32 [slots, words]: tokens that the grammar allows next, one bit each
    - `logprobs` float32 [slots]: natural log-probability of `ids` under the raw logits
    """

    def __init__(self, num_slots: int, vocabulary: int, device: torch.device) -> None:
        self.num_slots = num_slots
        rows, words = num_slots + 1, -(-vocabulary // 32)
        self.ids = torch.zeros(rows, dtype=torch.int64, device=device)
        self.positions = torch.zeros(rows, dtype=torch.int64, device=device)
        self.kv_starts = torch.zeros(rows, dtype=torch.int64, device=device)  # 0 for scratch: the cache's scratch block
        self.seen = torch.zeros(rows, vocabulary, dtype=torch.bool, device=device)
        self.penalties = torch.ones(rows, dtype=torch.float32, device=device)
        self.masks = torch.full((rows, words), -1, dtype=torch.int32, device=device)
        self.logprobs = torch.zeros(rows, dtype=torch.float32, device=device)
        self._bits = torch.arange(32, dtype=torch.int32, device=device)
        self._true = torch.ones((), dtype=torch.bool, device=device)

    def add(self, slot: int, prompt: Tensor, kv_start: int, penalty: float) -> None:
        """Initialize a slot for a sequence whose `prompt` ids [tokens] are in the KV cache."""
        self.positions[slot] = len(prompt) - 1  # `sample` advances it to the position of the first output token
        self.kv_starts[slot] = kv_start
        self.seen[slot] = False
        self.seen[slot, prompt] = True
        self.penalties[slot] = penalty
        self.masks[slot] = -1

    def decode_batch(self, slots: Tensor, host_spans: Sequence[tuple[int, int]] | None = None) -> DecodeBatch:
        """Return the KV cache locations of these slots, int64 [rows]."""
        starts, positions = self.kv_starts[slots], self.positions[slots]
        return DecodeBatch(starts + positions, torch.cat((starts, starts[:1])).int(), (positions + 1).int(), host_spans)

    def sample(self, slots: Tensor, logits: Tensor, constrained: bool) -> None:
        """Choose the next token of each slot: repetition penalty as in transformers, grammar mask if `constrained`, argmax.

        `slots` int64 [rows], `logits` [rows, vocabulary]. Updates `ids`, `logprobs`, `seen` and `positions`.
        """
        raw = logits.float()
        penalties = self.penalties[slots][:, None]
        scores = torch.where(self.seen[slots], torch.where(raw < 0, raw * penalties, raw / penalties), raw)
        if constrained:
            allowed = ((self.masks[slots][:, :, None] >> self._bits) & 1).flatten(1)[:, : raw.shape[1]].bool()
            scores = scores.masked_fill(~allowed, -torch.inf)
        ids = scores.argmax(-1)
        self.logprobs[slots] = raw.gather(1, ids[:, None]).squeeze(1) - raw.logsumexp(-1)
        self.seen.index_put_((slots, ids), self._true)
        self.ids[slots] = ids
        self.positions[slots] += 1
        self.positions[-1:].zero_()  # the scratch slot never leaves the scratch block
