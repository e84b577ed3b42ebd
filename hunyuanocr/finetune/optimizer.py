"""The optimizer of a run: Muon for matrices of hidden layers, AdamW for all other weights, behind one interface.

Muon (orthogonalized momentum) needs about half as many samples as AdamW to train the demo checkpoint. Embeddings, norms, biases
and LoRA matrices, which are low-rank by design, use AdamW.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from hunyuanocr.finetune.config import TrainConfig


class Optimizers:
    """Both optimizers behind one `step`; `pace`: current share of the recipe's learning rates (warm-up, decay)."""

    def __init__(self, named: list[tuple[str, nn.Parameter]], recipe: TrainConfig) -> None:
        trainable = [(name, weight) for name, weight in named if weight.requires_grad]
        hidden = [(name, w) for name, w in trainable if recipe.matrix_rate and _is_hidden_matrix(name, w)]
        hidden_ids = {id(weight) for _, weight in hidden}
        rest = [(name, weight) for name, weight in trainable if id(weight) not in hidden_ids]
        decayed = [w for name, w in rest if w.dim() > 1 and "embed" not in name]
        plain = [w for name, w in rest if w.dim() <= 1 or "embed" in name]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self._parts: dict[str, tuple[Optimizer, float]] = {}
        if groups := [group for group in groups if group["params"]]:
            self._parts["adamw"] = AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True), recipe.rate
        if hidden:
            matrices = [weight for _, weight in hidden]
            muon = Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw")
            self._parts["muon"] = muon, recipe.matrix_rate

    def step(self, pace: float) -> None:
        """Update the weights and clear the gradients."""
        for part, rate in self._parts.values():
            for group in part.param_groups:
                group["lr"] = rate * pace
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the states by optimizer name."""
        return {name: part.state_dict() for name, (part, _) in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the states. Raises KeyError if the optimizers differ from the saved ones."""
        for name, (part, _) in self._parts.items():
            part.load_state_dict(state[name])


def _is_hidden_matrix(name: str, weight: nn.Parameter) -> bool:
    return weight.dim() == 2 and not any(part in name for part in ("embed", "lm_head", "lora_"))
