"""The network that ranks candidates, in NumPy: `synthesis.ranker` trains the same one in PyTorch.

A small transformer (Vaswani et al., 2017; pre-norm) over the candidates of a page, then each asked field against each candidate,
and a score for "none of them".
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hunyuanocr.fields.ranking.features import PageFeatures
from hunyuanocr.fields.ranking.label_similarity import Floats

LAYERS, HEADS = 2, 4
TEXT_SLOTS = (0, 1, 2, 4, 5)  # of `candidates.SLOTS`: those whose n-grams the network reads
Weights = Mapping[str, Floats]


def scores(w: Weights, x: PageFeatures) -> Floats:
    """Return the probability of each candidate for each asked field, in the last column that of none, [asked, candidates + 1]."""
    counts = np.diff([*x.starts, len(x.rows)])[:, None]
    texts = np.asarray(np.add.reduceat(w["ngrams"][x.rows], x.starts) / counts, np.float32)
    labels = x.labels @ w["labels"]
    parts: list[Floats] = [texts[x.slots[:, slot]] for slot in TEXT_SLOTS]
    parts += [labels[x.slots].reshape(len(x.slots), -1), x.numeric]
    h = _linear(w, "input", np.concatenate(parts, axis=1))
    for layer in range(LAYERS):
        h = h + _attention(w, f"layers.{layer}", _norm(w, f"layers.{layer}.norm1", h))
        inner = _gelu(_linear(w, f"layers.{layer}.up", _norm(w, f"layers.{layer}.norm2", h)))
        h = h + _linear(w, f"layers.{layer}.down", inner)
    candidates = _linear(w, "candidate", _norm(w, "norm", h))
    asked = _linear(w, "asked", texts[x.asked]) + w["fields"][x.fields] + w["types"][x.types]
    return _softmax(_compare(w, asked, candidates, x.pairs))


def _compare(w: Weights, asked: Floats, candidates: Floats, pairs: Floats) -> Floats:
    """Return the scores of asked fields [asked, d] against candidates [candidates, d] and none, [asked, candidates + 1]."""
    found = []
    of_candidate = candidates @ w["pair.candidate"]
    for vector, pair in zip(asked, pairs, strict=True):  # one by one: less memory
        h = (
            of_candidate
            + (candidates * vector) @ w["pair.product"]
            + pair @ w["pair.fit"]
            + vector @ w["pair.asked"]
            + w["pair.bias"]
        )
        h = _gelu(h)
        h = h + _gelu(_linear(w, "hidden", h))
        score = h @ w["score"]
        p = _softmax(np.asarray(score[None], np.float32))[0]
        pooled = np.concatenate([vector, p @ h, pair.max(0), [np.clip(score.max(), -20, 20), p.max()]])
        none = _gelu(_linear(w, "none1", pooled)) @ w["none2"]
        found.append(np.append(score, none))
    return np.stack(found)


def _linear(w: Weights, name: str, x: Floats) -> Floats:
    return np.asarray(x @ w[f"{name}.weight"].T + w[f"{name}.bias"], np.float32)


def _norm(w: Weights, name: str, x: Floats) -> Floats:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return np.asarray(scaled * w[f"{name}.weight"] + w[f"{name}.bias"], np.float32)


def _attention(w: Weights, name: str, x: Floats) -> Floats:
    n, width = x.shape
    q, k, v = np.split(_linear(w, f"{name}.qkv", x), 3, axis=1)
    q, k, v = (a.reshape(n, HEADS, -1).transpose(1, 0, 2) for a in (q, k, v))
    mixed = _softmax(q @ k.transpose(0, 2, 1) / math.sqrt(width // HEADS)) @ v
    return _linear(w, f"{name}.out", mixed.transpose(1, 0, 2).reshape(n, width))


def _softmax(x: Floats) -> Floats:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True), np.float32)


def _gelu(x: Floats) -> Floats:
    """Return GELU in its tanh form, which needs no error function."""
    return np.asarray(0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), np.float32)
