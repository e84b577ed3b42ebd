"""Loads a checkpoint folder onto one device and divides the memory between weights, activations and KV cache."""

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

_CUDA_RUNTIME = 600_000_000  # bytes of CUDA context, cuBLAS workspace and graphs
_ADVICE_DEVICE = "Use --device cuda:0, cpu or auto."
PREFILL_CHUNK = {"cuda": 1024, "cpu": 256}
"""Prompt tokens per step while other sequences decode: about 20 ms on an RTX 4090, about 200 ms on two CPU cores."""


@dataclass(frozen=True)
class LoadedModel:
    """Everything that stays in memory while the engine runs. `max_tokens` limits prompt and output together."""

    name: str
    decoder: Decoder
    vision_tower: Any
    processor: Processor
    kv_cache: KvCache
    stop_ids: frozenset[int]
    max_tokens: int
    vocabulary: int  # width of the logits
    prefill_chunk: int
    device: torch.device
    budget: MemoryBudget


def load_model(folder: Path, device: torch.device, settings: TorchSettings) -> LoadedModel:
    """Load the weights and allocate the KV cache. Raises ConfigError if the device or its memory cannot hold the model."""
    started = time.perf_counter()
    dtype = choose_dtype(settings.dtype, device)
    if device.type == "cuda":
        _configure_gpu(device, settings.vram_gb)
    model = _transformers_model(folder, dtype, device)
    config = model.config.text_config
    if config.attention_bias:
        raise ConfigError("The checkpoint has attention biases, unlike every HunyuanOCR release.", hint="Check --model-path.")
    vision_tower = model.model.vision_tower
    vision_size = sum(p.numel() for p in vision_tower.parameters())
    prepack_onednn(vision_tower)
    decoder = Decoder(model.model.language_model, config)
    budget = _budget(model.config, decoder, vision_size, device, min(int(settings.vram_gb * 1e9), _available(device)))
    if budget.tokens < 4 * BLOCK_SIZE:
        raise ConfigError(f"Not enough memory for the model: {budget}.", hint="Increase --vram-gb.")
    max_tokens = min(config.max_position_embeddings, budget.tokens)
    kv_cache = KvCache(
        layers=config.num_hidden_layers,
        heads=decoder.kv_heads,
        dim=decoder.dim,
        dtype=dtype,
        device=device,
        tokens=min(budget.tokens, settings.max_num_seqs * max_tokens),
    )
    log.info("%s loaded on %s in %s: %.1f s, %s", folder.name, device, _name(dtype), time.perf_counter() - started, budget)
    return LoadedModel(
        folder.resolve().name,
        decoder,
        vision_tower,
        Processor(folder),
        kv_cache,
        _stop_ids(folder, config),
        max_tokens,
        config.vocab_size,
        PREFILL_CHUNK[device.type],
        device,
        budget,
    )


def choose_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is the first GPU, or the CPU without one. Raises ConfigError if it is missing."""
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as e:
        raise ConfigError(f"Unknown device '{name}'.", hint=_ADVICE_DEVICE) from e
    if device.type not in PREFILL_CHUNK:
        raise ConfigError(f"Device '{name}' is not supported: the engine needs a CUDA GPU or a CPU.", hint=_ADVICE_DEVICE)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"PyTorch cannot find device '{name}'.", hint="Check the driver (nvidia-smi), or use --device cpu.")
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of that name; `auto` is float16 on a GPU, bfloat16 on a CPU that supports it, otherwise float32."""
    if name == "auto":
        name = "float16" if device.type == "cuda" else ("bfloat16" if bfloat16_on_cpu() else "float32")
    return {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def _transformers_model(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """Load the model with transformers, whose loader knows the tensor names of both releases."""
    from transformers import HunYuanVLForConditionalGeneration  # noqa: PLC0415 -- the import takes two seconds
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside transformers, which users cannot fix
        model = HunYuanVLForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, local_files_only=True
        )
    return model.eval().requires_grad_(False).to(device)


def _configure_gpu(device: torch.device, vram_gb: float) -> None:
    """Select the GPU for this thread, limit PyTorch's allocator to `vram_gb`, and accumulate float16 products in float32."""
    torch.cuda.set_device(device)
    share = vram_gb * 1e9 / torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)  # beyond it a request fails, not another process
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # float16 sums overflow at 65,504


def _available(device: torch.device) -> int:
    """Return the bytes that are free or reserved by PyTorch on the GPU. Unlimited on a CPU, which allocates lazily."""
    if device.type != "cuda":
        return sys.maxsize
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def _budget(config: Any, decoder: Decoder, vision_size: int, device: torch.device, total: int) -> MemoryBudget:
    vision, text = config.vision_config, config.text_config
    size = decoder.embedding.element_size()
    weights = vision_size + decoder.work
    weights += decoder.embedding.numel() * (1 if device.type == "cuda" else 2)  # on a CPU the packed head is a second copy
    patches = (vision.max_image_size // vision.patch_size) ** 2
    work = patches * (2 * vision.intermediate_size + 8 * vision.hidden_size) * size  # activations of one vision layer
    work += 8 * text.vocab_size * 4 * 4  # logits in float32 and their copies
    token = 2 * text.num_hidden_layers * decoder.kv_heads * decoder.dim * size
    return MemoryBudget(total, _CUDA_RUNTIME if device.type == "cuda" else 0, weights * size, work, token)


def _stop_ids(folder: Path, config: Any) -> frozenset[int]:
    """Return the end-of-sequence ids of generation_config.json, or those of the model's config if it has none."""
    ids: Any = None
    file = folder / "generation_config.json"
    if file.is_file():
        ids = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
    ids = config.eos_token_id if ids is None else ids
    return frozenset(ids if isinstance(ids, list) else [ids])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
