"""What a run will need, told before anything is loaded: memory, disk, numbers that are trained. Estimates, on the safe side."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hunyuanocr.finetune.config import Adapter, TrainConfig
from hunyuanocr.finetune.dataset import TrainingDocument
from hunyuanocr.finetune.lora import TARGETS
from hunyuanocr.weights.architecture import Architecture

# Bytes that a pass keeps for the gradients: counted on the demo checkpoint by autograd's hooks for saved tensors.
_TOKEN = 15  # a token and a layer of the language model, for each number of its widths
_PATCH = 6.5  # a patch and a layer of the vision tower, likewise
_INPUT = 6  # a number that goes into a layer: 32 bits, and 16 of it again
_SCORE = 14  # an answer's token and a word of the vocabulary
_ADAM = 12  # a trained number: its gradient and two moments
_WEIGHT = 6  # a number of the model: 32 bits, and 16 while it multiplies
_LIBRARIES = 700_000_000  # bytes of PyTorch itself, or of CUDA's context
_KEPT = 3  # states on the disk: two, and one while it is written


@dataclass(frozen=True)
class ResourceEstimate:
    """Numbers that are trained; bytes of memory and of disk."""

    trained: int
    memory: int
    disk: int


def estimate(
    shape: Architecture, *, parameters: int, documents: Sequence[TrainingDocument], recipe: TrainConfig, full: bool
) -> ResourceEstimate:
    """Of training by `recipe`; all weights with `full`, else an adapter. `parameters` are all of the model's."""
    trained = parameters if full else _adapter_size(shape, recipe.adapter)
    text, vision = shape.text, shape.vision
    token = _TOKEN * (text.hidden + text.heads * text.head + text.inner)
    patch = _PATCH * (2 * vision.hidden + vision.inner) * full
    if recipe.recompute:  # one layer's at a time, and what went into each
        token, patch = token + _INPUT * text.layers * text.hidden, patch + _INPUT * vision.layers * vision.hidden * full
    else:
        token, patch = token * text.layers, patch * vision.layers
    page = max(d.tokens * token + d.answers * _SCORE * text.vocabulary + math.prod(d.grid) * patch for d in documents)
    memory = _LIBRARIES + parameters * _WEIGHT + trained * _ADAM + recipe.levels[0].batch * page
    return ResourceEstimate(trained, round(memory), _KEPT * trained * 12 + 2 * parameters * 2)


def _adapter_size(shape: Architecture, adapter: Adapter) -> int:
    names = ((name.removesuffix(".weight"), size) for name, size in shape.tensors().items())
    return sum(adapter.rank * sum(size) for name, size in names if re.fullmatch(TARGETS, name))
