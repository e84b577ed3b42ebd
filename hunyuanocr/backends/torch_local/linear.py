"""Matrix products of the language model: plain on a GPU, oneDNN with weights packed once on a CPU that computes in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Linear = Callable[[Tensor], Tensor]
"""[tokens, in] → [tokens, out], without bias."""


def linear(weight: Tensor) -> Linear:
    """The product with `weight` [out, in]. The weight may be copied into another layout: drop your reference to it."""
    if _packs(weight):
        return _Packed(weight, None)
    weight = weight.contiguous()
    return lambda x: F.linear(x, weight)


def prepack_onednn(module: nn.Module) -> None:
    """Pack the weights of every linear layer inside, where this CPU gains by it; elsewhere nothing changes."""
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            prepack_onednn(child)
        elif _packs(child.weight):
            setattr(module, name, _Packed(child.weight.detach(), None if child.bias is None else child.bias.detach()))


def bfloat16_on_cpu() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX-512 BF16, AMX) and not by way of float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()


def _packs(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype is torch.bfloat16 and bfloat16_on_cpu()


class _Packed(nn.Module):
    """oneDNN's blocked layout: F.linear would make it anew for every token, which is a third of a decode step."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        self._bias = bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out
