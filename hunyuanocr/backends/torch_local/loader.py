"""A folder of weights → the fused decoder, the vision tower and the processor, on one device; the memory shared out."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hunyuanocr.backends.torch_local.decoder import Decoder
from hunyuanocr.backends.torch_local.kv_cache import BLOCK_SIZE, KvCache, MemoryBudget
from hunyuanocr.backends.torch_local.linear import bfloat16_on_cpu, prepack_onednn
from hunyuanocr.backends.torch_local.processor import Processor
from hunyuanocr.config import TorchSettings
from hunyuanocr.errors import ConfigError

log = logging.getLogger(__name__)

_CUDA_RUNTIME = 600_000_000  # bytes of context, cuBLAS work space and graphs
PREFILL_CHUNK = {"cuda": 1024, "cpu": 256}
"""Tokens of a prompt that are read between two decode steps: some 20 ms of a 4090's work, some 200 ms of two CPU cores'."""


@dataclass(frozen=True)
class LoadedModel:
    """Everything that stays in memory while the engine runs."""

    name: str
    decoder: Decoder
    tower: Any
    processor: Processor
    pool: KvCache
    stop_ids: frozenset[int]
    max_tokens: int  # tokens of prompt and answer together
    vocabulary: int
    prefill_chunk: int
    device: torch.device
    budget: MemoryBudget


def load_model(folder: Path, device: torch.device, settings: TorchSettings) -> LoadedModel:
    """Read the weights and prepare the pool. Raises ConfigError when the device or the memory cannot hold the model."""
    began = time.perf_counter()
    dtype = choose_dtype(settings.dtype, device)
    if device.type == "cuda":
        _prepare(device, settings.vram_gb)
    model = _transformers_model(folder, dtype, device)
    config = model.config.text_config
    if config.attention_bias:
        raise ConfigError("The checkpoint has attention biases, which no HunyuanOCR release has.", hint="Check --model-path.")
    tower = model.model.vision_tower
    tower_size = sum(p.numel() for p in tower.parameters())
    prepack_onednn(tower)
    decoder = Decoder(model.model.language_model, config)
    budget = _budget(model.config, decoder, tower_size, device, min(int(settings.vram_gb * 1e9), _available(device)))
    if budget.tokens < 4 * BLOCK_SIZE:
        raise ConfigError(f"Too little memory for the model: {budget}.", hint="Give it more with --vram-gb.")
    longest = min(config.max_position_embeddings, budget.tokens)
    pool = KvCache(
        layers=config.num_hidden_layers, heads=decoder.kv_heads, dim=decoder.dim, dtype=dtype, device=device,
        tokens=min(budget.tokens, settings.max_num_seqs * longest),
    )  # fmt: skip
    log.info("%s loaded on %s in %s: %.1f s, %s", folder.name, device, _name(dtype), time.perf_counter() - began, budget)
    return LoadedModel(
        folder.resolve().name, decoder, tower, Processor(folder), pool, _stop_ids(folder, config), longest, config.vocab_size,
        PREFILL_CHUNK[device.type], device, budget,
    )  # fmt: skip


def choose_device(wanted: str) -> torch.device:
    """`auto` takes the first GPU, else the CPU. Raises ConfigError for one that is not there."""
    if wanted == "auto":
        wanted = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as e:
        raise ConfigError(f"There is no device '{wanted}'.", hint="--device cuda:0, cpu or auto") from e
    if device.type not in PREFILL_CHUNK:
        raise ConfigError(f"The engine runs on CUDA GPUs and CPUs, not on '{wanted}'.", hint="--device cuda:0, cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"PyTorch finds no device '{wanted}'.", hint="Check the driver (nvidia-smi), or take --device cpu.")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """`auto`: float16 on a GPU, on a CPU bfloat16 where it multiplies in it, else float32."""
    if wanted == "auto":
        wanted = "float16" if device.type == "cuda" else ("bfloat16" if bfloat16_on_cpu() else "float32")
    return {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]


def _transformers_model(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """transformers' own model: its loader knows the tensor names of both releases."""
    from transformers import HunYuanVLForConditionalGeneration  # noqa: PLC0415 -- two seconds, and only here
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own deprecations, which our users cannot mend
        model = HunYuanVLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True
        )
    return model.eval().requires_grad_(False).to(device)


def _prepare(device: torch.device, vram_gb: float) -> None:
    """Make the GPU this thread's, hold PyTorch to its share, and have sums of float16 products kept in float32."""
    torch.cuda.set_device(device)
    share = vram_gb * 1e9 / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)  # beyond it a picture fails, and nobody else's work
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # they would overflow at 65,504


def _available(device: torch.device) -> int:
    """Bytes that the GPU has for us: what is free, and what PyTorch holds already. A CPU's are taken when they are written to."""
    if device.type != "cuda":
        return sys.maxsize
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def _budget(config: Any, decoder: Decoder, tower_size: int, device: torch.device, total: int) -> MemoryBudget:
    vision, text = config.vision_config, config.text_config
    size = decoder.embedding.element_size()
    weights = tower_size + decoder.work
    weights += decoder.embedding.numel() * (1 if device.type == "cuda" else 2)  # a CPU's head is packed, so not shared
    patches = (vision.max_image_size // vision.patch_size) ** 2
    work = patches * (2 * vision.intermediate_size + 8 * vision.hidden_size) * size  # one layer's activations
    work += 8 * text.vocab_size * 4 * 4  # logits in float32 and their copies
    token = 2 * text.num_hidden_layers * decoder.kv_heads * decoder.dim * size
    return MemoryBudget(total, _CUDA_RUNTIME if device.type == "cuda" else 0, weights * size, work, token)


def _stop_ids(folder: Path, config: Any) -> frozenset[int]:
    """End-of-sequence ids of the generation config, else of the model's."""
    found: Any = None
    file = folder / "generation_config.json"
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    found = config.eos_token_id if found is None else found
    return frozenset(found if isinstance(found, list) else [found])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
