"""The command line and the environment of vLLM for this model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, MissingDependency

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MAX_IMAGES = 8  # in one request: the pages of a free question
SOCKET, MODEL = "socket", "model"  # in the server's working folder
_DRAFT_GB = 1.0  # weights, cache and activations of the draft model
_MIN_GB = 4.0  # weights, activations and the cache of one page on a GPU
_CPU_WEIGHTS_GB = 4.0  # float32 weights on a CPU; the rest of the budget is cache
_GB = 1e9


@dataclass(frozen=True)
class Gpu:
    """A GPU: its index by the driver, and its total memory in bytes."""

    index: int
    memory: int


def find_gpu(device: str) -> Gpu | None:
    """Return the GPU of `device` (auto, cpu, cuda, cuda:N), or None. Raises ConfigError if it does not exist."""
    if device == "cpu":
        return None
    index = int(device.partition(":")[2] or 0)
    sizes = _gpu_sizes()
    if index < len(sizes):
        return Gpu(index, sizes[index])
    if device == "auto":
        return None
    raise ConfigError(
        f"The device '{device}' does not exist: nvidia-smi lists {len(sizes)} GPUs.", hint="Use --device auto or cpu."
    )


def _gpu_sizes() -> list[int]:
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * 2**20 for line in result.stdout.splitlines() if line.strip().isdigit()]


def build_command(settings: Settings, folder: Path, name: str, home: Path, gpu: Gpu | None) -> list[str]:
    """Return the command line of the server; `home` is its working folder (see `prepare_home`).

    Raises ConfigError if the memory does not suffice, MissingDependency if vLLM is not installed.
    """
    if not PYTHON.is_file():
        raise MissingDependency("vLLM is not installed.", hint="Run ./launch_vllm.sh to install it.")
    flags: Mapping[str, str] = {
        "model": str(home / MODEL),
        "served-model-name": name,
        "uds": str(home / SOCKET),
        "dtype": _dtype(settings, gpu),
        "max-model-len": "-1",  # the longest that the model and the memory allow
        "limit-mm-per-prompt": json.dumps({"image": MAX_IMAGES}),
        "mm-processor-cache-gb": "0",  # the same image rarely comes twice
        "chat-template-content-format": "openai",  # vLLM's detection from the template may drop the images
        "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
    }
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    command += [part for flag, value in flags.items() for part in (f"--{flag}", value)]
    command += ["--no-enable-prefix-caching", "--disable-uvicorn-access-log"]
    return command + (_on_gpu(settings, folder, gpu) if gpu else ["--enforce-eager"])


def prepare_home(folder: Path, home: Path) -> None:
    """Prepare the working folder for a start: links to the model's files, without weights of other models.

    vLLM loads every *.safetensors file, and fails on parameters of a training run.
    """
    (home / SOCKET).unlink(missing_ok=True)  # a killed server leaves it, and the next one could not bind
    shutil.rmtree(home / MODEL, ignore_errors=True)
    (home / MODEL).mkdir()
    single_file = (folder / "model.safetensors").is_file()  # other weight files in the folder do not belong to the model
    for entry in folder.resolve().iterdir():
        if entry.suffix != ".safetensors" or entry.name == "model.safetensors" or not single_file:
            (home / MODEL / entry.name).symlink_to(entry)


def _dtype(settings: Settings, gpu: Gpu | None) -> str:
    dtype = settings.torch.dtype
    return dtype if dtype != "auto" else "float16" if gpu else "float32"


def _on_gpu(settings: Settings, folder: Path, gpu: Gpu) -> list[str]:
    gigabytes = settings.torch.vram_gb
    if gigabytes < _MIN_GB:
        raise ConfigError(f"vLLM requires {_MIN_GB:g} GB of GPU memory; --vram-gb is {gigabytes:g}.", hint="Increase --vram-gb.")
    share = gigabytes * _GB / gpu.memory
    if share > 0.97:
        raise ConfigError(
            f"The GPU has {gpu.memory / _GB:.1f} GB, less than --vram-gb {gigabytes:g} requires.", hint="Reduce --vram-gb."
        )
    flags = ["--gpu-memory-utilization", f"{share:.4f}"]
    if speculative_enabled(settings, folder, gpu):
        draft = {"method": "dflash", "model": str(folder.resolve() / "dflash"), "num_speculative_tokens": 15}
        flags += ["--speculative-config", json.dumps(draft)]
    return flags


def speculative_enabled(settings: Settings, folder: Path, gpu: Gpu | None) -> bool:
    """Return whether speculative decoding is used: on a GPU with enough memory, if the folder has a draft model."""
    return gpu is not None and (folder / "dflash").is_dir() and settings.torch.vram_gb >= _MIN_GB + _DRAFT_GB


def environment(settings: Settings, folder: Path, gpu: Gpu | None) -> dict[str, str]:
    """Return vLLM's environment: telemetry and access to model hubs are disabled."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HUNYUANOCR_", "VLLM_", "PYTHON", "VIRTUAL_ENV"))}
    added = {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_PLUGINS": "hunyuanocr",
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    if not speculative_enabled(settings, folder, gpu):
        added["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # in the other runner the plugin reports raw probabilities
    if gpu:
        added |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu.index)}  # the order of nvidia-smi
    else:
        added["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, int(settings.torch.vram_gb - _CPU_WEIGHTS_GB)))
        added["CUDA_VISIBLE_DEVICES"] = ""
    return inherited | added
