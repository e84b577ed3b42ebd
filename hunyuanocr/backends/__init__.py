"""The one factory of readers: a closed list of names, each imported only when it is chosen."""

from __future__ import annotations

import logging
import shutil
from importlib.util import find_spec
from pathlib import Path

from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, MissingDependency
from hunyuanocr.weights import verify

log = logging.getLogger(__name__)

_ENGINE = ("torch", "transformers", "safetensors", "xgrammar")  # the extra [torch] of pyproject.toml
_INSTALL = "Install it with ./launch_web_pt.sh --backend torch, or with .venv/bin/pip install -e '.[torch]'."
_EVIDENCE_THREADS = 8  # at most, and half of the CPUs: the model's engine and the server need some too
_READING_THREADS = 4  # one reading gains little from more, so that with more several pages are read at a time


def create_backend(settings: Settings) -> tuple[Backend, str]:
    """The reader that the settings ask for, and one plain sentence that says which one serves, where, and why.

    Nothing is loaded yet, but what cannot work is told now. Raises ConfigError (WeightsMissing and WeightsBroken among them) and
    MissingDependency; with `auto` the CPU reader serves instead.
    """
    name = BackendName(settings.backend)
    if name is BackendName.VLLM:
        return _on_vllm(settings)
    if name is BackendName.TORCH:
        return _model(settings, "because it was asked for")
    why = "because it was asked for" if name is BackendName.PPOCR else model_unavailable_reason(settings)
    if why is None:
        return _model(settings, "because its weights and a GPU are here")
    from hunyuanocr.backends.ppocr import PpocrBackend

    return PpocrBackend(settings.ppocr), f"The CPU reader (PP-OCR) serves {why}."


def create_evidence_backend(settings: Settings, backend: Backend) -> Backend | None:
    """The CPU reader beside a language model, which tells where on the page the model's values stand; None if it is not wanted.

    None as well where its packages are missing: then values stay without evidence.
    """
    if settings.pipeline.evidence_backend == "off" or backend.name is BackendName.PPOCR:
        return None
    if find_spec("rapidocr") is None or not (find_spec("openvino") or find_spec("onnxruntime")):
        log.warning("The CPU reader is not installed: what the model extracts cannot be looked up on the page.")
        return None
    from hunyuanocr.backends.ppocr import PpocrBackend
    from hunyuanocr.cpu_count import usable_cpus

    own = settings.ppocr
    threads = own.threads or max(1, min(_EVIDENCE_THREADS, usable_cpus() // 2))
    return PpocrBackend(own.model_copy(update={"threads": threads, "workers": max(own.workers, threads // _READING_THREADS)}))


def _model(settings: Settings, why: str) -> tuple[Backend, str]:
    folder = verify(settings.model_path).folder
    if missing := _missing():
        raise MissingDependency(f"The backend 'torch' needs what is not installed: {', '.join(missing)}.", hint=_INSTALL)
    from hunyuanocr.backends.torch_local import TorchGenerator
    from hunyuanocr.backends.torch_local.loader import choose_device
    from hunyuanocr.backends.vlm.backend import VlmBackend

    device = choose_device(settings.device)
    backend = VlmBackend(TorchGenerator(settings.model_copy(update={"model_path": folder, "device": str(device)})))
    place = "the CPU, where it is slow," if device.type == "cpu" else f"the GPU {device}"
    return backend, f"HunyuanOCR ({backend.model}) serves on {place} {why}."


def _on_vllm(settings: Settings) -> tuple[Backend, str]:
    from hunyuanocr.backends.vllm_server import VllmGenerator
    from hunyuanocr.backends.vlm.backend import VlmBackend

    if settings.vllm.url is not None:
        return VlmBackend(VllmGenerator(settings)), f"HunyuanOCR serves on the vLLM server at {settings.vllm.url}."
    backend = VlmBackend(VllmGenerator(settings, verify(settings.model_path).folder))
    return backend, f"HunyuanOCR ({backend.model}) serves on vLLM because it was asked for."


def model_unavailable_reason(settings: Settings) -> str | None:
    """Why `auto` leaves the model alone ("because …"), or None where it can serve. Cheapest reasons first."""
    try:
        verify(settings.model_path)
    except ConfigError as e:
        return f"because the model's weights cannot be used: {e.message.rstrip('.')}"
    return _gpu_unavailable_reason(settings.device)


def _gpu_unavailable_reason(device: str) -> str | None:
    if device == "cpu":
        return "because --device cpu keeps the model off the GPU, and it is quicker on a CPU"
    if not has_gpu():
        return "because no NVIDIA GPU was found"
    if missing := _missing():
        return f"because the model needs what is not installed: {', '.join(missing)} (./launch_web_pt.sh installs it)"
    import torch  # seconds; nothing cheaper tells a driver that does not fit, or a build without CUDA

    return None if torch.cuda.is_available() else "because PyTorch cannot use the GPU: its build or the driver does not fit"


def _missing() -> list[str]:
    return [name for name in _ENGINE if find_spec(name) is None]


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU is there for this process, told without any GPU library."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists() or shutil.which("nvidia-smi") is not None
