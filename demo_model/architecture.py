"""The untrained demo checkpoint: a small version of HunyuanOCR's architecture, initialised for fast training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import HunYuanVLConfig, HunYuanVLForConditionalGeneration, HunYuanVLProcessor
from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil

from demo_model.chat_template import CHAT_TEMPLATE, SPECIAL
from demo_model.tokenizer import build

TEXT: dict[str, Any] = {
    "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
    "head_dim": 64, "max_position_embeddings": 4096,
    # alpha 1: positions stay below a thousand, so the base is not scaled.
    "rope_parameters": {
        "rope_type": "dynamic", "alpha": 1.0, "rope_theta": 10000.0, "mrope_section": [8, 8, 8, 8], "factor": 1.0,
    },
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_attention_heads": 4,
    "num_hidden_layers": 5,
    "max_image_size": 640,
}
PIXELS = (64 * 64, 448 * 704)
_EMBEDDING_STD = 0.06  # large enough to distinguish tokens in all layers


def create(folder: Path, *, text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None, seed: int = 1) -> Path:
    """Write an untrained checkpoint with tokenizer, chat template and image settings; return the folder."""
    tokenizer = build()
    ids = {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in SPECIAL.items()}
    language = TEXT | {"vocab_size": len(tokenizer)} | (text or {})
    language |= {"bos_token_id": ids["bos"], "eos_token_id": ids["eos"], "pad_token_id": ids["pad"]}
    hidden = language["hidden_size"]
    config = HunYuanVLConfig(
        text_config=language,
        vision_config=VISION | (vision or {}) | {"text_hidden_size": hidden, "out_hidden_size": hidden},
        image_token_id=ids["image"],
        im_start_id=ids["image_start"],
        im_end_id=ids["image_end"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = HunYuanVLForConditionalGeneration(config)
    _initialise(model)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = ids["eos"], ids["pad"]
    model.save_pretrained(folder)
    pictures = HunYuanVLImageProcessorPil(size={"shortest_edge": PIXELS[0], "longest_edge": PIXELS[1]})
    HunYuanVLProcessor(image_processor=pictures, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


@torch.no_grad()
def _initialise(model: Any) -> None:
    """Initialise matrices by fan-in, ends of residual branches smaller, and positions as sines for attention to neighbours."""
    depth = {
        "vision_tower": model.config.vision_config.num_hidden_layers,
        "language_model": model.config.text_config.num_hidden_layers,
    }
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and "lm_head" not in name:
            std = 1 / math.sqrt(module.weight[0].numel())
            part = next((count for key, count in depth.items() if key in name), 1)
            if name.endswith(("o_proj", "down_proj", "fc2")):
                std /= math.sqrt(2 * part)
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.get_input_embeddings().weight, std=_EMBEDDING_STD)
    tower = model.model.vision_tower
    tower.embeddings.position_embedding.weight[1:] = _sinusoids(tower.embeddings.position_edge, tower.config.hidden_size)
    tower.patch_merger.after_rms.weight.fill_(0.5)


def _sinusoids(edge: int, width: int) -> torch.Tensor:
    """Return [edge², width]: sines and cosines of row and column, wavelengths from 3 patches to twice the edge."""
    waves = torch.logspace(math.log10(2 * math.pi / 3), math.log10(math.pi / edge), width // 4)
    angles = torch.arange(edge)[:, None] * waves
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, edge, -1), axis[None].expand(edge, -1, -1)
    return 0.5 * torch.cat([rows, columns], dim=2).reshape(edge * edge, -1)
