"""Matrix products of the language model: plain on a GPU, oneDNN with weights packed once on a CPU that computes in bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Linear = Callable[[Tensor], Tensor]
"""[tokens, in] → [tokens, out], without bias."""


def linear(weight: Tensor) -> Linear:
    """The product with `weight` [out, in]. The weight may be copied into another layout: drop your reference to it."""
    if weight.device.type == "cpu" and weight.dtype is torch.bfloat16 and bfloat16_on_cpu():
        return _packed(weight)
    weight = weight.contiguous()
    return lambda x: F.linear(x, weight)


def bfloat16_on_cpu() -> bool:
    """Whether this CPU multiplies in bfloat16 (AVX-512 BF16, AMX) and not by way of float32."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and torch.cpu._is_avx512_bf16_supported()


def _packed(weight: Tensor) -> Linear:
    """oneDNN's blocked layout: F.linear would make it anew for every token, which is a third of a decode step."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    product = torch.ops.mkldnn._linear_pointwise

    def multiply(x: Tensor) -> Tensor:
        out: Tensor = product(x, packed, None, "none", [], "")
        return out

    return multiply
