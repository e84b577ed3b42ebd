"""A trainable checkpoint: load, forward pass with losses, save."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import HunYuanVLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from hunyuanocr.backends.torch_local.linear import bfloat16_on_cpu
from hunyuanocr.finetune.batching import IGNORED, Batch
from hunyuanocr.finetune.char_head import CharacterHead
from hunyuanocr.weights.verify import verify

# Files of a checkpoint in addition to weights, config and generation config, of both generations of folders.
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "processor_config.json",
    "preprocessor_config.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
    "NOTICE.txt",
)


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of one batch: `answer` over answer tokens, `reading` over slots of image tokens; each may be None.

    `right`: share of correct answer tokens; `exact_match`: share of answers without an error, which a greedy decoder reproduces
    exactly; `read`: share of correct characters in the slots.
    """

    answer: Tensor | None
    reading: Tensor | None
    right: float = 0.0
    exact_match: float = 0.0
    read: float = 0.0


def load(folder: Path, device: str = "cpu") -> Any:
    """Return the model of a checkpoint folder with float32 weights for training. Raises WeightsMissing or WeightsInvalid."""
    verify(folder)
    transformers_logging.disable_progress_bar()
    return HunYuanVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(device).train()


def enable_gradient_checkpointing(model: Any) -> None:
    """Keep only the input of every layer and recompute the rest in the backward pass: same numbers, less memory."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # new name in transformers
    (newer or model.gradient_checkpointing_enable)()


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return the context of forward passes: 16 bits, or float32 on a CPU that computes those in software, 50 times slower."""
    slow = device.type == "cpu" and not bfloat16_on_cpu()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=not slow)


def save(model: Any, source: Path, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write the weights in `dtype` to a folder, with tokenizer, template and image settings of the `source` folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().to("cpu", dtype, copy=True) for name, value in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=state)
    for name in COMPANIONS:
        if (source / name).is_file() and source.resolve() != folder.resolve():
            shutil.copyfile(source / name, folder / name)


def encode_images(tower: Any, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Encode images of one size, [B, h·w, 3·patch²] → [B, h/2·(w/2 + 1) + 2, hidden], in one batch."""
    height, width = grid
    first = tower.embeddings.patch_embedding
    hidden = functional.linear(patches, first.weight.flatten(1), first.bias)
    hidden = hidden + tower.embeddings.interpolate_pos_encoding(hidden, height, width)
    bounds = torch.tensor([0, height * width], dtype=torch.int32)
    for layer in tower.layers:
        hidden = layer(hidden, cu_seqlens=bounds, max_seqlen=height * width, attention_mask=None)
    tokens: Tensor = tower.patch_merger(hidden, size=grid)
    return tokens


def compute_losses(model: Any, batch: Batch, head: CharacterHead | None = None) -> Losses:
    """Run a forward pass over a batch and return its losses."""
    images = encode_images(model.model.vision_tower, batch.patches, batch.grid)
    reading, read = _reading(model, images, batch, head)
    if not (batch.labels != IGNORED).any():
        return Losses(None, reading, read=read)
    start, end = batch.span
    text = model.get_input_embeddings()(batch.ids)
    embedded = torch.cat([text[:, :start], images.to(text.dtype), text[:, end:]], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embedded, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    targets = batch.labels[:, 1:]
    labelled = targets != IGNORED
    logits = model.lm_head(hidden[:, :-1][labelled]).float()
    answer = functional.cross_entropy(logits, targets[labelled])
    correct = logits.detach().argmax(-1) == targets[labelled]
    return Losses(answer, reading, float(correct.float().mean()), _exact_match(labelled, correct), read)


def _reading(model: Any, images: Tensor, batch: Batch, head: CharacterHead | None) -> tuple[Tensor | None, float]:
    """Return the auxiliary loss and the share of correct characters, from the image tokens without line breaks."""
    if head is None or batch.slots is None:
        return None, 0.0
    height, width = batch.grid[0] // 2, batch.grid[1] // 2
    cells = images[:, 1:-1].reshape(len(images), height, width + 1, -1)[:, :, :width].flatten(1, 2)
    loss, share = head.loss(cells, model.get_input_embeddings().weight, batch.slots)
    return loss, float(share)


def _exact_match(labelled: Tensor, correct: Tensor) -> float:
    """Return the share of answers, runs of labelled tokens, in which every token is correct."""
    rows, columns = labelled.nonzero(as_tuple=True)
    starts = torch.ones_like(rows, dtype=torch.bool)
    starts[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1] + 1)
    answer = starts.cumsum(0) - 1
    errors = torch.zeros(int(answer[-1]) + 1, device=rows.device).index_add_(0, answer, (~correct).float())
    return float((errors == 0).float().mean())
