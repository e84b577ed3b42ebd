"""LoRA: low-rank matrices added to the language model's projections and trained instead of them.

Source: Hu et al. 2021, arXiv 2106.09685.

The vision encoder is frozen: it has seen far more kinds of print than one folder contains and would forget them, and gradients
through its 27 layers for the 16,000 patches of a page need more memory than everything else.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from hunyuanocr.errors import MissingDependency
from hunyuanocr.finetune.config import Adapter

TARGETS = r"model\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"  # names of modules
_INSTALL = "Install it with .venv/bin/pip install -e '.[torch,finetune]' -c constraints.txt, or train with --method full."


def require_peft() -> None:
    """Raise MissingDependency if peft is not installed."""
    if find_spec("peft") is None:
        raise MissingDependency("LoRA needs the package peft, which is not installed.", hint=_INSTALL)


def add_adapter(net: Any, adapter: Adapter, seed: int) -> Any:
    """Add an adapter to `net` in place, initially without effect, and freeze all other weights; return peft's model."""
    require_peft()
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  optional dependency

    torch.manual_seed(seed)
    settings = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=0.0, bias="none", target_modules=TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about a call by peft
        return get_peft_model(net, settings)


def write(adapted: Any, folder: Path) -> None:
    """Write only the adapter, in peft's format; the base model is stored by name, without its local path."""
    settings = adapted.peft_config["default"]
    settings.base_model_name_or_path = Path(settings.base_model_name_or_path or "").name
    adapted.save_pretrained(folder, save_embedding_layers=False)  # "auto" would query the hub for the base model
    (folder / "README.md").unlink(missing_ok=True)  # an empty template


def merge_adapter(adapted: Any) -> Any:
    """Return the model with the adapter merged into its weights; do not use `adapted` afterwards."""
    return adapted.merge_and_unload()
