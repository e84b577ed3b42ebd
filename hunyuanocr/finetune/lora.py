"""LoRA: small matrices beside the language model's projections, trained in their place (Hu et al. 2021, arXiv 2106.09685).

The vision tower stays as it is: it has seen far more kinds of print than one folder holds, and would forget them; and passing
gradients through its 27 layers for the 16,000 patches of a page would cost more memory than all the rest.
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
    """Raises MissingDependency where peft is not installed."""
    if find_spec("peft") is None:
        raise MissingDependency("LoRA needs the package peft, which is not installed.", hint=_INSTALL)


def add_adapter(net: Any, adapter: Adapter, seed: int) -> Any:
    """Put an adapter that changes nothing yet into `net` itself, of which nothing else is trained then; returns peft's model."""
    require_peft()
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415  an optional package

    torch.manual_seed(seed)
    settings = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, lora_dropout=0.0, bias="none", target_modules=TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers about what peft asks it
        return get_peft_model(net, settings)


def write(adapted: Any, folder: Path) -> None:
    """The adapter alone, in peft's form; it knows its base by the name, not by where that lies on this machine."""
    settings = adapted.peft_config["default"]
    settings.base_model_name_or_path = Path(settings.base_model_name_or_path or "").name
    adapted.save_pretrained(folder, save_embedding_layers=False)  # "auto" would ask the hub about the base
    (folder / "README.md").unlink(missing_ok=True)  # an empty form


def merge_adapter(adapted: Any) -> Any:
    """The model with the adapter added to its weights; `adapted` is used up."""
    return adapted.merge_and_unload()
