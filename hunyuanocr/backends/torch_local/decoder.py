"""The language model of HunyuanOCR (HunYuanDenseV1), one layer loop for prefill and decode.

Same arithmetic and the same rounding as transformers' `modeling_hunyuan_vl`: RoPE in float32 before the RMS norm of queries and
keys, cosines rounded to the model's dtype. Other launches: q, k, v in one product, gate and up in one, keys written in place.
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
"""(layer, queries, keys, values) of new tokens → what they see, [tokens, heads, dim]."""


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
    """Holds the fused weights. Tokens are rows: of one prompt in `prefill`, one of each request in `decode`."""

    def __init__(self, model: Any, config: Any) -> None:
        """`model` is transformers' HunYuanVLTextModel; its layers are emptied as they are fused, to hold no weight twice."""
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.eps = config.rms_norm_eps
        self.embedding: Tensor = model.embed_tokens.weight.detach()
        self.head = linear(self.embedding)
        self.norm = model.norm.weight.detach()
        self.frequencies, self.axis = _rope(model.rotary_emb, self.dim, self.embedding.device)
        # Multiplications for one token, attention aside: what pieces of other work are measured by.
        self.work = sum(p.numel() for p in model.layers.parameters())
        self.layers: list[Layer] = []
        for n, layer in enumerate(model.layers):
            self.layers.append(self._fused(layer))
            model.layers[n] = torch.nn.Identity()

    def _fused(self, layer: Any) -> Layer:
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

    def prefill(self, x: Tensor, positions: Tensor, attention: Attention, start: int, before: int) -> Tensor:
        """Tokens `before` … of a prompt, its run at `start`. `x` [n, hidden], `positions` [axes, n] → states [n, hidden]."""
        at = torch.arange(start + before, start + before + len(x), device=x.device)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            _write(attention.pool, layer, at, k, v)
            return attention.prefill(layer, q, start, before)

        return self._forward(x, *self._rotation(positions, x.dtype), attend)

    def decode(self, ids: Tensor, positions: Tensor, attention: Attention, rows: DecodeBatch) -> Tensor:
        """One more token of each request: `ids` [rows] at `positions` [rows]. Returns logits [rows, vocabulary]."""

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            _write(attention.pool, layer, rows.slot_mapping, k, v)
            return attention.decode(layer, q, rows)

        x = F.embedding(ids, self.embedding)
        cos, sin = self._rotation(positions[None], x.dtype)
        return self.logits(self._forward(x, cos, sin, attend))

    def logits(self, x: Tensor) -> Tensor:
        """Hidden states [n, hidden] → logits [n, vocabulary]."""
        return self.head(rms_norm(x, self.norm, self.eps))

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine [n, 1, dim] in float32. `positions` is [axes, n], or [1, n] for text: alike on all axes."""
        by_dim = positions.expand(len(self.axis), -1) if len(positions) == 1 else positions[self.axis]
        angles = by_dim.T.float() * self.frequencies
        return angles.cos().to(dtype).float()[:, None], angles.sin().to(dtype).float()[:, None]

    def _forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        both, half = self.heads + self.kv_heads, self.dim // 2
        for n, layer in enumerate(self.layers):
            h = layer.qkv(rms_norm(x, layer.norm_in, self.eps)).view(len(x), -1, self.dim)
            qk, v = h[:, :both].float(), h[:, both:]
            turned = torch.cat((-qk[..., half:], qk[..., :half]), -1)
            qk = (qk * cos).addcmul_(turned, sin).to(x.dtype)
            qk = rms_norm(qk, layer.norm_qk, self.eps)
            q, k = qk[:, : self.heads], qk[:, self.heads :]
            x = x + layer.out(attend(n, q, k, v).reshape(len(x), -1))
            gate, up = layer.gate_up(rms_norm(x, layer.norm_mlp, self.eps)).chunk(2, -1)
            x = x + layer.down(F.silu(gate) * up)
        return x


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) over the last dimension, in float32, rounded, times the weight."""
    if x.is_cuda:
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    # On a CPU F.rms_norm is ten small operations; these are five.
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x * (length.square_().div_(x.shape[-1]).add_(eps).rsqrt_())).to(x.dtype) * weight


def _write(pool: KvCache, layer: int, at: Tensor, k: Tensor, v: Tensor) -> None:
    """Put new keys and values into the pool."""
    pool.keys[layer].index_copy_(0, at, k)
    pool.values[layer].index_copy_(0, at, v)


def _rope(rotary: Any, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Frequencies [dim] in float32, and which position axis turns each dimension [dim] (M-RoPE's sections, taken in turn)."""
    frequencies = rotary.inv_freq.float().to(device)
    sections = rotary.mrope_section
    turns = [n % len(sections) for n, size in enumerate(sections) for _ in range(2 * size)]
    return torch.cat((frequencies, frequencies)), torch.tensor(turns, device=device)
