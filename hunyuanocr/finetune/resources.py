"""Estimate the resources of a run before anything is loaded: memory, disk, trained parameters. Conservative estimates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hunyuanocr.finetune.config import Adapter, TrainConfig
from hunyuanocr.finetune.dataset import TrainingDocument
from hunyuanocr.finetune.lora import TARGETS
from hunyuanocr.weights.architecture import Architecture

# Bytes kept for the backward pass, measured on the demo checkpoint with autograd's saved-tensor hooks.
_TOKEN = 15  # per token and layer of the language model, for each unit of its widths
_PATCH = 6.5  # per patch and layer of the vision encoder, for each unit of its widths
_INPUT = 6  # per input value of a layer: 32 bits, and a copy in 16 bits
_SCORE = 14  # per token of an answer and entry of the vocabulary
_ADAM = 12  # per trained parameter: its gradient and two moments
_WEIGHT = 6  # per parameter: 32 bits, and a copy in 16 bits during multiplication
_LIBRARIES = 700_000_000  # PyTorch itself, or the CUDA context
_STATES = 3  # on disk: two, and one that is being written


@dataclass(frozen=True)
class ResourceEstimate:
    """Number of trained parameters; bytes of memory and of disk."""

    trained: int
    memory: int
    disk: int


def estimate(
    shape: Architecture, *, parameters: int, documents: Sequence[TrainingDocument], recipe: TrainConfig, full: bool
) -> ResourceEstimate:
    """Estimate training by `recipe`: all weights with `full`, else an adapter. `parameters`: total number of the model."""
    trained = parameters if full else _adapter_size(shape, recipe.adapter)
    text, vision = shape.text, shape.vision
    token = _TOKEN * (text.hidden + text.heads * text.head + text.inner)
    patch = _PATCH * (2 * vision.hidden + vision.inner) * full
    if recipe.recompute:  # one layer at a time, and the input of each layer
        token, patch = token + _INPUT * text.layers * text.hidden, patch + _INPUT * vision.layers * vision.hidden * full
    else:
        token, patch = token * text.layers, patch * vision.layers
    page = max(d.tokens * token + d.answers * _SCORE * text.vocabulary + math.prod(d.grid) * patch for d in documents)
    memory = _LIBRARIES + parameters * _WEIGHT + trained * _ADAM + recipe.levels[0].batch * page
    return ResourceEstimate(trained, round(memory), _STATES * trained * 12 + 2 * parameters * 2)


def _adapter_size(shape: Architecture, adapter: Adapter) -> int:
    names = ((name.removesuffix(".weight"), size) for name, size in shape.tensors().items())
    return sum(adapter.rank * sum(size) for name, size in names if re.fullmatch(TARGETS, name))
