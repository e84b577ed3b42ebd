"""The language model of HunyuanOCR (HunYuanDenseV1): one layer loop for prefill and decode.

Same arithmetic and rounding as transformers' `modeling_hunyuan_vl`: RoPE in float32 before the RMS norm of queries and keys,
cosines rounded to the model's dtype. Fewer kernels: one product for q, k and v, one for gate and up, keys and values written in
place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import Attention, DecodeBatch
from hunyuanocr.backends.torch_local.kv_cache import KvCache
from hunyuanocr.backends.torch_local.linear import Linear, linear

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries, keys, values) of new tokens → attention output [tokens, heads, dim]."""


@dataclass(frozen=True)
class Layer:
    """Fused weights of one layer."""

    qkv: Linear
    out: Linear
    gate_up: Linear
    down: Linear
    norm_in: Tensor
    norm_mlp: Tensor
    norm_qk: Tensor  # [heads + kv_heads, dim]: the query norm for each query head, the key norm for each key head


class Decoder:
    """Fused weights and forward passes. Rows are tokens: of one prompt in `prefill`, one per sequence in `decode`."""

    def __init__(self, model: Any, config: Any) -> None:
        """`model` is transformers' HunYuanVLTextModel. Its layers are removed as they are fused: no weight is stored twice."""
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.eps = config.rms_norm_eps
        self.embedding: Tensor = model.embed_tokens.weight.detach()
        self.head = linear(self.embedding)
        self.norm = model.norm.weight.detach()
        self.frequencies, self.axis = _rope(model.rotary_emb, self.dim, self.embedding.device)
        # Multiplications per token without attention: the unit in which the vision encoder's chunks are measured.
        self.work = sum(p.numel() for p in model.layers.parameters())
        self.layers: list[Layer] = []
        for n, layer in enumerate(model.layers):
            self.layers.append(self._fuse(layer))
            model.layers[n] = torch.nn.Identity()

    def _fuse(self, layer: Any) -> Layer:
        a, mlp = layer.self_attn, layer.mlp
        queries, keys = a.query_layernorm.weight.detach(), a.key_layernorm.weight.detach()
        return Layer(
            qkv=linear(torch.cat([p.weight.detach() for p in (a.q_proj, a.k_proj, a.v_proj)])),
            out=linear(a.o_proj.weight.detach()),
            gate_up=linear(torch.cat([mlp.gate_proj.weight.detach(), mlp.up_proj.weight.detach()])),
            down=linear(mlp.down_proj.weight.detach()),
            norm_in=layer.input_layernorm.weight.detach(),
            norm_mlp=layer.post_attention_layernorm.weight.detach(),
            norm_qk=torch.cat([queries.expand(self.heads, -1), keys.expand(self.kv_heads, -1)]),
        )

    def prefill(self, x: Tensor, positions: Tensor, attention: Attention, kv_start: int, num_cached: int) -> Tensor:
        """Run the prompt tokens from `num_cached` on and write their keys and values to the KV span at `kv_start`.

        `x` embeddings [n, hidden], `positions` int64 [axes, n]. Returns hidden states [n, hidden].
        """
        first = kv_start + num_cached
        slot_mapping = torch.arange(first, first + len(x), device=x.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            _write(attention.kv_cache, layer, slot_mapping, k, v)
            return attention.prefill(layer, q, kv_start, num_cached)

        return self._forward(x, *self._rotation(positions, x.dtype), attend)

    def decode(self, ids: Tensor, positions: Tensor, attention: Attention, batch: DecodeBatch) -> Tensor:
        """Run one token per sequence: `ids` int64 [rows] at `positions` int64 [rows]. Returns logits [rows, vocabulary]."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            _write(attention.kv_cache, layer, batch.slot_mapping, k, v)
            return attention.decode(layer, q, batch)

        x = F.embedding(ids, self.embedding)
        cos, sin = self._rotation(positions[None], x.dtype)
        return self.logits(self._forward(x, cos, sin, attend))

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states [n, hidden] → logits [n, vocabulary]."""
        return self.head(rms_norm(x, self.norm, self.eps))

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cosine and sine [n, 1, dim] in float32. `positions` is [axes, n], or [1, n] for text: equal on all axes."""
        per_dim = positions.expand(len(self.axis), -1) if len(positions) == 1 else positions[self.axis]
        angles = per_dim.T.float() * self.frequencies
        return angles.cos().to(dtype).float()[:, None], angles.sin().to(dtype).float()[:, None]

    def _forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        qk_heads, half = self.heads + self.kv_heads, self.dim // 2
        for n, layer in enumerate(self.layers):
            h = layer.qkv(rms_norm(x, layer.norm_in, self.eps)).view(len(x), -1, self.dim)
            qk, v = h[:, :qk_heads].float(), h[:, qk_heads:]
            rotated = torch.cat((-qk[..., half:], qk[..., :half]), -1)
            qk = (qk * cos).addcmul_(rotated, sin).to(x.dtype)
            qk = rms_norm(qk, layer.norm_qk, self.eps)
            q, k = qk[:, : self.heads], qk[:, self.heads :]
            x = x + layer.out(attend(n, q, k, v).reshape(len(x), -1))
            gate, up = layer.gate_up(rms_norm(x, layer.norm_mlp, self.eps)).chunk(2, -1)
            x = x + layer.down(F.silu(gate) * up)
        return x


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps) over the last dimension, computed in float32 and rounded to x's dtype, times the weight."""
    if x.is_cuda:
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    # On a CPU F.rms_norm runs ten small operations; these are five.
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x * (norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_())).to(x.dtype) * weight


def _write(kv_cache: KvCache, layer: int, slot_mapping: Tensor, k: Tensor, v: Tensor) -> None:
    """Write new keys and values [tokens, kv_heads, dim] to the cache indexes `slot_mapping`, int64 [tokens]."""
    kv_cache.keys[layer].index_copy_(0, slot_mapping, k)
    kv_cache.values[layer].index_copy_(0, slot_mapping, v)


def _rope(rotary: Any, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the frequencies [dim] in float32 and the position axis of each dimension [dim] (M-RoPE sections, cyclic)."""
    frequencies = rotary.inv_freq.float().to(device)
    sections = rotary.mrope_section
    axes = [n % len(sections) for n, size in enumerate(sections) for _ in range(2 * size)]
    return torch.cat((frequencies, frequencies)), torch.tensor(axes, device=device)
