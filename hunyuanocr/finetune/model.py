"""A checkpoint as something to train: loading, one pass with its losses, saving."""

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

from hunyuanocr.finetune.batching import IGNORED, Batch
from hunyuanocr.finetune.char_head import CharacterHead
from hunyuanocr.weights.verify import verify

# What belongs to a checkpoint besides its weights, its config and its settings of generation; in both generations of folders.
COMPANIONS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
              "processor_config.json", "preprocessor_config.json", "LICENSE", "LICENSE.txt", "NOTICE", "NOTICE.txt")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Losses:
    """Of one batch: `answer` over the answers' tokens, `reading` over the image tokens' slots, each None without them.

    `right` is the share of answer tokens that would be written right, `exact_match` that of answers without any mistake: a greedy
    decoder writes exactly those. `read` is the share of characters that the slots tell right.
    """

    answer: Tensor | None
    reading: Tensor | None
    right: float = 0.0
    exact_match: float = 0.0
    read: float = 0.0


def load(folder: Path, device: str = "cpu") -> Any:
    """The model of a checkpoint folder with float32 weights, to be trained. Raises WeightsMissing or WeightsBroken."""
    verify(folder)
    transformers_logging.disable_progress_bar()
    return HunYuanVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).to(device).train()


def enable_gradient_checkpointing(model: Any) -> None:
    """Of every layer only its input is kept for the gradients, and the rest computed anew: the same numbers in less memory."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # the name that transformers is going over to
    (newer or model.gradient_checkpointing_enable)()


def save(model: Any, source: Path, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Write the weights in `dtype` to a folder, with tokenizer, template and picture settings of the `source` folder."""
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
    """Pictures of one size [B, h·w, 3·patch²] → image tokens [B, h/2·(w/2 + 1) + 2, hidden]: all pictures in one product."""
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
    """One pass forward over a batch."""
    images = encode_images(model.model.vision_tower, batch.patches, batch.grid)
    reading, read = _reading(model, images, batch, head)
    if not (batch.labels != IGNORED).any():
        return Losses(None, reading, read=read)
    start, end = batch.span
    words = model.get_input_embeddings()(batch.ids)
    embedded = torch.cat([words[:, :start], images.to(words.dtype), words[:, end:]], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embedded, position_ids=batch.positions, attention_mask=batch.mask, use_cache=False
    ).last_hidden_state
    wanted = batch.labels[:, 1:]
    told = wanted != IGNORED
    scores = model.lm_head(hidden[:, :-1][told]).float()
    answer = functional.cross_entropy(scores, wanted[told])
    hit = scores.detach().argmax(-1) == wanted[told]
    return Losses(answer, reading, float(hit.float().mean()), _whole(told, hit), read)


def _reading(model: Any, images: Tensor, batch: Batch, head: CharacterHead | None) -> tuple[Tensor | None, float]:
    """The auxiliary task's loss and share of characters told right, from the image tokens without their line breaks."""
    if head is None or batch.slots is None:
        return None, 0.0
    height, width = batch.grid[0] // 2, batch.grid[1] // 2
    cells = images[:, 1:-1].reshape(len(images), height, width + 1, -1)[:, :, :width].flatten(1, 2)
    loss, share = head.loss(cells, model.get_input_embeddings().weight, batch.slots)
    return loss, float(share)


def _whole(told: Tensor, hit: Tensor) -> float:
    """The share of answers, runs of labelled tokens, of which every token is right."""
    rows, places = told.nonzero(as_tuple=True)
    begins = torch.ones_like(rows, dtype=torch.bool)
    begins[1:] = (rows[1:] != rows[:-1]) | (places[1:] != places[:-1] + 1)
    answer = begins.cumsum(0) - 1
    wrong = torch.zeros(int(answer[-1]) + 1, device=rows.device).index_add_(0, answer, (~hit).float())
    return float((wrong == 0).float().mean())
