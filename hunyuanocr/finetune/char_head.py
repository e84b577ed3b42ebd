"""An auxiliary task that teaches the vision tower to read before the language model learns to copy.

A small model that learns from answers alone sits on a plateau until its image tokens happen to tell characters apart. Where
the places of characters are known, every image token is asked directly which characters have their centres in it. It is
sharper than CTC (no alignment has to be found), and the head is thrown away after training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_BLANK_WEIGHT = 0.15  # most slots are blank; they teach little


class CharacterHead(nn.Module):
    """Scores of the characters in an image token's slots, left to right.

    Each slot turns the token into a direction that is compared with the language model's own embeddings of the characters:
    what the tower learns here is what the language model needs for copying.
    """

    def __init__(self, hidden: int, characters: Tensor, slots: int = 5) -> None:
        """`characters` are the token ids of the alphabet's characters, in its order."""
        super().__init__()
        self.slots = slots
        self.project = nn.Linear(hidden, slots * hidden)
        self.blank = nn.Parameter(torch.zeros(hidden))
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.characters: Tensor
        self.register_buffer("characters", characters, persistent=False)

    def loss(self, tokens: Tensor, embeddings: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """(loss, share of characters told right) of image tokens [B, N, hidden] for classes [B, N, slots], 0 for blank."""
        table = torch.cat([self.blank[None], functional.embedding(self.characters, embeddings)])
        directions = self.project(tokens).view(*tokens.shape[:2], self.slots, -1)
        scores = (directions @ table.t().to(directions.dtype)).float() * self.scale
        weight = torch.ones(len(table), device=scores.device)
        weight[0] = _BLANK_WEIGHT
        loss = functional.cross_entropy(scores.flatten(0, 2), slots.flatten(), weight=weight)
        printed = slots > 0
        right = (scores.detach().argmax(-1) == slots)[printed].float().mean() if printed.any() else torch.tensor(0.0)
        return loss, right
