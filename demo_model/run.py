"""A training run of the demo: the untrained checkpoint, its trainer, and the export of the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from demo_model import lexicon
from demo_model.architecture import create
from demo_model.curriculum import Curriculum
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.errors import WeightsMissing
from hunyuanocr.finetune import checkpoint, config, model
from hunyuanocr.finetune.batching import Collator
from hunyuanocr.finetune.char_head import CharacterHead
from hunyuanocr.finetune.trainer import Trainer

HEAD = "reading.safetensors"  # the auxiliary head, stored with the weights to resume training


def trainer(run: Path, recipe: Path, *, start: Path | None = None, device: str = "cpu", **sizes: Any) -> Trainer:
    """Return the trainer of a run. It starts from the weights of `start`, or from an untrained checkpoint of `sizes`."""
    base = run / "base"
    if start is not None and not (base / "config.json").is_file():
        model.save(model.load(start), start, base, torch.float32)
    elif not (base / "config.json").is_file():
        create(base, **sizes)
    net = model.load(base, device)
    processor = Processor(base)
    alphabet = lexicon.glyphs()
    head = CharacterHead(net.config.text_config.hidden_size, characters(processor, alphabet)).to(device)
    if start is not None and (start / HEAD).is_file():
        head.load_state_dict(read_head(start / HEAD))
    settings = config.load(recipe)
    return Trainer(net, Curriculum(settings.seed), collator=Collator(processor, alphabet), recipe=settings, folder=run, head=head)


def characters(processor: Processor, alphabet: str) -> torch.Tensor:
    """Return the token ID of each character."""
    return torch.tensor([processor.tokenizer.encode(char, add_special_tokens=False)[0] for char in alphabet])


def read_head(file: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the auxiliary head."""
    return {name: value.float() for name, value in load_file(file).items()}


def export(run: Path, folder: Path) -> None:
    """Write the latest state as a bfloat16 checkpoint, with the auxiliary head. Raises WeightsMissing."""
    found = checkpoint.load_latest(run)
    if found is None:
        raise WeightsMissing(f"There is no checkpoint in {run}.", hint="Train first: python -m demo_model build RUN.")
    _, parts = found
    net = model.load(run / "base")
    net.load_state_dict(parts["model"])
    model.save(net, run / "base", folder)
    if "head" in parts:
        save_file({name: value.to(torch.bfloat16) for name, value in parts["head"].items()}, folder / HEAD)
