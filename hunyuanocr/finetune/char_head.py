"""An auxiliary task that trains the vision encoder to distinguish characters before the language model learns to copy.

A small model that learns from answers alone stays on a plateau until its image tokens distinguish characters by chance. If the
positions of characters are known, every image token is trained to predict the characters with their centres in it. The signal is
more precise than CTC (no alignment is needed), and the head is discarded after training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLANK_WEIGHT = 0.15  # most slots are blank and carry little information


class CharacterHead(nn.Module):
    """Logits of the characters in an image token's slots, left to right.

    Each slot projects the token to a vector that is compared with the language model's own embeddings of the characters, so the
    encoder learns what the language model needs for copying.
    """

    def __init__(self, hidden: int, characters: Tensor, slots: int = 5) -> None:
        """`characters`: token ids of the alphabet's characters, in its order."""
        super().__init__()
        self.slots = slots
        self.project = nn.Linear(hidden, slots * hidden)
        self.blank = nn.Parameter(torch.zeros(hidden))
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.characters: Tensor
        self.register_buffer("characters", characters, persistent=False)

    def loss(self, tokens: Tensor, embeddings: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Return (loss, share of correct characters) of image tokens [B, N, hidden] for classes [B, N, slots]; 0 is blank."""
        table = torch.cat([self.blank[None], functional.embedding(self.characters, embeddings)])
        directions = self.project(tokens).view(*tokens.shape[:2], self.slots, -1)
        scores = (directions @ table.t().to(directions.dtype)).float() * self.scale
        weight = torch.ones(len(table), device=scores.device)
        weight[0] = _BLANK_WEIGHT
        loss = functional.cross_entropy(scores.flatten(0, 2), slots.flatten(), weight=weight)
        printed = slots > 0
        right = (scores.detach().argmax(-1) == slots)[printed].float().mean() if printed.any() else torch.tensor(0.0)
        return loss, right
