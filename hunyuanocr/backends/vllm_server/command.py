"""How vLLM is started for this model: its flags and its environment."""

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
IMAGES = 8  # in one request; the pages that a free question sees together
SOCKET, MODEL = "socket", "model"  # in the folder where it lives
_DRAFT_GB = 1.0  # weights of the draft model, its cache and its work
_MIN_GB = 4.0  # weights, the pictures' work and the cache of one page on a GPU
_CPU_REST_GB = 4.0  # of the budget on a CPU: weights in float32; what is left of it is cache
_GB = 1e9


@dataclass(frozen=True)
class Gpu:
    """A card: its number as the driver counts, and all of its memory in bytes."""

    index: int
    memory: int


def find_gpu(device: str) -> Gpu | None:
    """The card that `device` (auto, cpu, cuda, cuda:N) means; None where there is none. Raises ConfigError for a missing one."""
    if device == "cpu":
        return None
    wanted = int(device.partition(":")[2] or 0)
    sizes = _gpu_sizes()
    if wanted < len(sizes):
        return Gpu(wanted, sizes[wanted])
    if device == "auto":
        return None
    raise ConfigError(f"There is no device '{device}': nvidia-smi shows {len(sizes)} GPUs.", hint="Take --device auto or cpu.")


def _gpu_sizes() -> list[int]:
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * 2**20 for line in done.stdout.splitlines() if line.strip().isdigit()]


def command(settings: Settings, folder: Path, name: str, home: Path, gpu: Gpu | None) -> list[str]:
    """The command line of the server, which lives in `home` (see `prepare_home`).

    Raises ConfigError where the memory cannot do, MissingDependency without vLLM.
    """
    if not PYTHON.is_file():
        raise MissingDependency("vLLM is not installed.", hint="Install it with ./launch_vllm.sh.")
    flags: Mapping[str, str] = {
        "model": str(home / MODEL),
        "served-model-name": name,
        "uds": str(home / SOCKET),
        "dtype": _dtype(settings, gpu),
        "max-model-len": "-1",  # as long as the model knows and the memory holds
        "limit-mm-per-prompt": json.dumps({"image": IMAGES}),
        "mm-processor-cache-gb": "0",  # a photo comes once
        "chat-template-content-format": "openai",  # vLLM's guess from the template may drop the pictures
        "structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
    }
    command = [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    command += [part for flag, value in flags.items() for part in (f"--{flag}", value)]
    command += ["--no-enable-prefix-caching", "--disable-uvicorn-access-log"]
    return command + (_on_gpu(settings, folder, gpu) if gpu else ["--enforce-eager"])


def prepare_home(folder: Path, home: Path) -> None:
    """Make `home` ready for a start: links to the model's files, without weights that are none of the model's.

    vLLM reads all *.safetensors that it finds, and fails over a training's other parameters.
    """
    (home / SOCKET).unlink(missing_ok=True)  # an engine that was killed leaves it, and the next one takes it for taken
    shutil.rmtree(home / MODEL, ignore_errors=True)
    (home / MODEL).mkdir()
    whole = (folder / "model.safetensors").is_file()  # in one file; those that lie beside it belong to something else
    for entry in folder.resolve().iterdir():
        if entry.suffix != ".safetensors" or entry.name == "model.safetensors" or not whole:
            (home / MODEL / entry.name).symlink_to(entry)


def _dtype(settings: Settings, gpu: Gpu | None) -> str:
    wanted = settings.torch.dtype
    return wanted if wanted != "auto" else "float16" if gpu else "float32"


def _on_gpu(settings: Settings, folder: Path, gpu: Gpu) -> list[str]:
    gigabytes = settings.torch.vram_gb
    if gigabytes < _MIN_GB:
        raise ConfigError(f"vLLM needs {_MIN_GB:g} GB for the model; it is given {gigabytes:g}.", hint="Raise --vram-gb.")
    share = gigabytes * _GB / gpu.memory
    if share > 0.97:
        raise ConfigError(
            f"The GPU has {gpu.memory / _GB:.1f} GB, too few for --vram-gb {gigabytes:g}.", hint="Give less with --vram-gb."
        )
    flags = ["--gpu-memory-utilization", f"{share:.4f}"]
    if speculative_enabled(settings, folder, gpu):
        draft = {"method": "dflash", "model": str(folder.resolve() / "dflash"), "num_speculative_tokens": 15}
        flags += ["--speculative-config", json.dumps(draft)]
    return flags


def speculative_enabled(settings: Settings, folder: Path, gpu: Gpu | None) -> bool:
    """Whether the draft model of the folder writes ahead: on a GPU, where there is one and room for it."""
    return gpu is not None and (folder / "dflash").is_dir() and settings.torch.vram_gb >= _MIN_GB + _DRAFT_GB


def environment(settings: Settings, folder: Path, gpu: Gpu | None) -> dict[str, str]:
    """What vLLM finds in its environment: nothing phones home, nothing is looked for on a hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HUNYUANOCR_", "VLLM_", "PYTHON", "VIRTUAL_ENV"))}
    own = {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_PLUGINS": "hunyuanocr",
        "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    if not speculative_enabled(settings, folder, gpu):
        own["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # in which our plugin keeps the model's own probabilities
    if gpu:
        own |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu.index)}  # as nvidia-smi counts
    else:
        own["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, int(settings.torch.vram_gb - _CPU_REST_GB)))
        own["CUDA_VISIBLE_DEVICES"] = ""
    return kept | own
