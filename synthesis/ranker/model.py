"""The network of `hunyuanocr.fields.ranking.network` in PyTorch, for batches of pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hunyuanocr.fields.ranking.candidates import SLOTS
from hunyuanocr.fields.ranking.features import FIELD_COUNT, NUMERIC, PAIR, TYPES
from hunyuanocr.fields.ranking.label_similarity import Floats
from hunyuanocr.fields.ranking.network import HEADS, LAYERS, TEXT_SLOTS
from hunyuanocr.fields.ranking.ngrams import ROWS
from synthesis.ranker.pages import Example

_TEXT, _LABEL, _WIDTH, _ASKED = 32, 16, 96, 64
_HIDDEN_TEXTS = 0.2  # share of the texts around candidates whose n-grams are hidden in training
_NOISE = 0.05


class Batch:
    """Examples as tensors, padded to the most candidates and questions."""

    def __init__(self, examples: Sequence[Example]) -> None:
        features = [e.features for e in examples]
        n, q = max(len(f.slots) for f in features), max(len(f.asked) for f in features)
        texts = np.cumsum([0, *(len(f.starts) for f in features)])
        grams = np.cumsum([0, *(len(f.rows) for f in features)])
        self.rows = torch.from_numpy(np.concatenate([f.rows for f in features]))
        self.starts = torch.from_numpy(np.concatenate([f.starts + g for f, g in zip(features, grams, strict=False)]))
        self.labels = torch.from_numpy(np.concatenate([f.labels for f in features]))
        size = len(examples)
        self.slots = torch.zeros(size, n, len(SLOTS), dtype=torch.long)
        self.numeric = torch.zeros(size, n, NUMERIC)
        self.present = torch.zeros(size, n, dtype=torch.bool)
        self.asked, self.fields, self.types = (torch.zeros(size, q, dtype=torch.long) for _ in range(3))
        self.counts = torch.zeros(size, q, dtype=torch.bool)
        self.pairs = torch.zeros(size, q, n, PAIR)
        self.targets = torch.zeros(size, q, n + 1)
        for i, (f, example) in enumerate(zip(features, examples, strict=True)):
            c, k = len(f.slots), len(f.asked)
            self.slots[i, :c] = torch.from_numpy(f.slots + texts[i])
            self.slots[i, c:] = int(texts[i])
            self.numeric[i, :c] = torch.from_numpy(f.numeric)
            self.present[i, :c] = True
            self.asked[i, :k] = torch.from_numpy(f.asked + texts[i])
            self.fields[i, :k], self.types[i, :k] = torch.from_numpy(f.fields), torch.from_numpy(f.types)
            self.counts[i, :k] = True
            self.pairs[i, :k, :c] = torch.from_numpy(f.pairs)
            self.targets[i, :k, :c] = torch.from_numpy(example.targets[:, :-1])
            self.targets[i, :k, n] = torch.from_numpy(example.targets[:, -1])


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH), nn.Linear(_WIDTH, _WIDTH)
        self.up, self.down = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, _WIDTH)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        b, n, width = x.shape
        q, k, v = (a.view(b, n, HEADS, -1).transpose(1, 2) for a in self.qkv(self.norm1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=present[:, None, None])
        x = x + self.drop(self.out(mixed.transpose(1, 2).reshape(b, n, width)))
        mlp: Tensor = self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))
        return x + mlp


class RankerModel(nn.Module):
    """Scores of each asked field against each candidate and "none"."""

    def __init__(self) -> None:
        super().__init__()
        self.ngrams = nn.EmbeddingBag(ROWS, _TEXT, mode="mean")
        nn.init.normal_(self.ngrams.weight, 0, 0.3)
        self.labels = nn.Parameter(torch.randn(FIELD_COUNT, _LABEL) * 0.3)
        self.input = nn.Linear(len(TEXT_SLOTS) * _TEXT + len(SLOTS) * _LABEL + NUMERIC, _WIDTH)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.norm, self.candidate = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, _ASKED)
        self.asked = nn.Linear(_TEXT, _ASKED)
        self.fields = nn.Parameter(torch.randn(FIELD_COUNT + 1, _ASKED) * 0.3)
        self.types = nn.Parameter(torch.randn(len(TYPES), _ASKED) * 0.3)
        self.pair = nn.Linear(3 * _ASKED + PAIR, _ASKED)
        self.hidden = nn.Linear(_ASKED, _ASKED)
        self.score = nn.Linear(_ASKED, 1, bias=False)
        self.none1, self.none2 = nn.Linear(2 * _ASKED + PAIR + 2, _ASKED), nn.Linear(_ASKED, 1, bias=False)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Batch) -> Tensor:
        """Return scores before the softmax, [pages, asked, candidates + 1]."""
        texts = self.ngrams(x.rows, x.starts)
        labels = x.labels @ self.labels
        around, numeric = [texts[x.slots[..., slot]] for slot in TEXT_SLOTS], x.numeric
        if self.training:
            around = [a * (torch.rand(*a.shape[:2], 1) > _HIDDEN_TEXTS) for a in around]
            numeric = numeric + torch.randn_like(numeric) * _NOISE
        h = self.input(torch.cat([*around, labels[x.slots].flatten(2), numeric], -1))
        for layer in self.layers:
            h = layer(h, x.present)
        candidates = self.drop(self.candidate(self.norm(h)))
        asked = self.asked(texts[x.asked]) + self.fields[x.fields] + self.types[x.types]
        return self._compare(asked, candidates, x)

    def _compare(self, asked: Tensor, candidates: Tensor, x: Batch) -> Tensor:
        own, product, of_asked, fit = torch.split(self.pair.weight, [_ASKED, _ASKED, _ASKED, PAIR], 1)
        h = (candidates @ own.T)[:, None] + (candidates[:, None] * asked[:, :, None]) @ product.T
        h = h + x.pairs @ fit.T + (asked @ of_asked.T)[:, :, None] + self.pair.bias
        h = F.gelu(h, approximate="tanh")
        h = h + F.gelu(self.hidden(h), approximate="tanh")
        score = self.score(h)[..., 0].masked_fill(~x.present[:, None], -1e4)
        p = score.softmax(-1)
        pooled = torch.einsum("bqn,bqnd->bqd", p, h)
        best = x.pairs.masked_fill(~x.present[:, None, :, None], -9).amax(2)
        certainty = torch.stack([score.amax(-1).clamp(-20, 20), p.amax(-1)], -1)
        none = self.none2(F.gelu(self.none1(torch.cat([asked, pooled, best, certainty], -1)), approximate="tanh"))
        return torch.cat([score, none], -1)

    def export(self) -> dict[str, Floats]:
        """Return the weights under the names of the NumPy network."""
        w = {name: value.detach().float().numpy() for name, value in self.state_dict().items()}
        own, product, of_asked, fit = np.split(w.pop("pair.weight"), np.cumsum([_ASKED, _ASKED, _ASKED]), axis=1)
        w |= {"pair.candidate": own.T, "pair.product": product.T, "pair.asked": of_asked.T, "pair.fit": fit.T}
        w["ngrams"], w["score"], w["none2"] = w.pop("ngrams.weight"), w.pop("score.weight")[0], w.pop("none2.weight")[0]
        return {name: np.ascontiguousarray(value) for name, value in w.items()}


def loss_of(scores: Tensor, x: Batch) -> Tensor:
    """Return the mean negative logarithm of the probability of the right candidates."""
    right = scores.log_softmax(-1).masked_fill(x.targets == 0, -1e9).logsumexp(-1)
    return -(right * x.counts).sum() / x.counts.sum()
