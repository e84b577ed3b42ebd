"""What the decode step knows of each running request, in fixed device tensors: the same step runs eagerly and in a CUDA graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import DecodeBatch


class BatchState:
    """State by slot; the last slot is scratch, for rows that only pad a batch.

    `ids` the newest token, not yet in the cache; `positions` where it will stand; `seen` the tokens that the repetition penalty
    counts; `masks` the grammar's allowed tokens, one bit each; `logprobs` of `ids` by the raw logits.
    """

    def __init__(self, count: int, vocabulary: int, device: torch.device) -> None:
        self.count = count
        words = -(-vocabulary // 32)
        self.ids = torch.zeros(count + 1, dtype=torch.int64, device=device)
        self.positions = torch.zeros(count + 1, dtype=torch.int64, device=device)
        self.starts = torch.zeros(count + 1, dtype=torch.int64, device=device)  # of their runs; scratch begins at 0
        self.seen = torch.zeros(count + 1, vocabulary, dtype=torch.bool, device=device)
        self.penalties = torch.ones(count + 1, dtype=torch.float32, device=device)
        self.masks = torch.full((count + 1, words), -1, dtype=torch.int32, device=device)
        self.logprobs = torch.zeros(count + 1, dtype=torch.float32, device=device)
        self._bits = torch.arange(32, dtype=torch.int32, device=device)
        self._true = torch.ones((), dtype=torch.bool, device=device)
        self._free = list(range(count))

    def allocate(self) -> int | None:
        """A free slot, the lowest; None when all are taken."""
        return self._free.pop(0) if self._free else None

    def free(self, slot: int) -> None:
        """Free a slot; what it holds is overwritten by the next `add`."""
        self._free = sorted([*self._free, slot])

    def add(self, slot: int, prompt: Tensor, start: int, penalty: float) -> None:
        """A request whose `prompt` ids [n] are in the cache, in the run at `start`."""
        self.positions[slot] = len(prompt) - 1  # `sample` moves it to where the first written token will stand
        self.starts[slot] = start
        self.seen[slot] = False
        self.seen[slot, prompt] = True
        self.penalties[slot] = penalty
        self.masks[slot] = -1

    def decode_batch(self, rows: Tensor, runs: Sequence[tuple[int, int]] | None = None) -> DecodeBatch:
        """Where the newest tokens of these slots stand in the pool."""
        starts, positions = self.starts[rows], self.positions[rows]
        return DecodeBatch(starts + positions, torch.cat((starts, starts[:1])).int(), (positions + 1).int(), runs)

    def sample(self, rows: Tensor, logits: Tensor, constrained: bool) -> None:
        """The next token of each row: repetition penalty as in transformers, then the grammar's mask, then the greatest."""
        raw = logits.float()
        penalties = self.penalties[rows][:, None]
        scores = torch.where(self.seen[rows], torch.where(raw < 0, raw * penalties, raw / penalties), raw)
        if constrained:
            allowed = ((self.masks[rows][:, :, None] >> self._bits) & 1).flatten(1)[:, : raw.shape[1]].bool()
            scores = scores.masked_fill(~allowed, -torch.inf)
        ids = scores.argmax(-1)
        self.logprobs[rows] = raw.gather(1, ids[:, None]).squeeze(1) - raw.logsumexp(-1)
        self.seen.index_put_((rows, ids), self._true)
        self.ids[rows] = ids
        self.positions[rows] += 1
        self.positions[-1:].zero_()  # the scratch slot stays within the scratch tokens
