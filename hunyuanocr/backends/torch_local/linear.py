"""Linear layers: F.linear, or oneDNN with prepacked weights on a CPU with native bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Linear = Callable[[Tensor], Tensor]
"""[tokens, in] → [tokens, out], without bias."""


def linear(weight: Tensor) -> Linear:
    """Return the product with `weight` [out, in]. The weight may be copied to another layout: keep no reference to it."""
    if _should_pack(weight):
        return _PackedLinear(weight, None)
    weight = weight.contiguous()
    return lambda x: F.linear(x, weight)


def prepack_onednn(module: nn.Module) -> None:
    """Replace every nn.Linear inside by a prepacked one if this CPU gains from it; otherwise change nothing."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            prepack_onednn(child)
        elif _should_pack(child.weight):
            setattr(module, name, _PackedLinear(child.weight.detach(), None if child.bias is None else child.bias.detach()))


def bfloat16_on_cpu() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX-512 BF16, AMX) instead of converting to float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()


def _should_pack(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.bfloat16 and bfloat16_on_cpu()


class _PackedLinear(nn.Module):
    """A weight in oneDNN's blocked layout. F.linear would convert it for every token, a third of the time of a decode step."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out
