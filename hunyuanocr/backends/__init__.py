"""The factory of backends. A backend is imported only when it is selected."""

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

_TORCH_PACKAGES = ("torch", "transformers", "safetensors", "xgrammar")  # the extra [torch] of pyproject.toml
_INSTALL_HINT = "Run ./launch_web_pt.sh --backend torch, or .venv/bin/pip install -e '.[torch]'."
_MAX_EVIDENCE_THREADS = 8  # and at most half of the CPUs: the model's engine and the server need the others
_THREADS_PER_PAGE = 4  # one page gains little from more; with more threads several pages run concurrently


def create_backend(settings: Settings) -> tuple[Backend, str]:
    """Create the configured backend, and one sentence that states which backend runs, on which device, and why.

    Nothing is loaded yet, but the configuration is checked. Raises ConfigError (including WeightsMissing and WeightsInvalid) and
    MissingDependency; with `auto` the CPU backend is used instead.
    """
    name = BackendName(settings.backend)
    if name is BackendName.VLLM:
        return _vllm(settings)
    if name is BackendName.TORCH:
        return _torch(settings, "because it was requested")
    if name is BackendName.FAKE:
        from hunyuanocr.backends.fake import FakeBackend

        return FakeBackend(), "The fake backend runs: it does not read pictures, its answers are invented."
    reason = "because it was requested" if name is BackendName.PPOCR else model_unavailable_reason(settings)
    if reason is None:
        return _torch(settings, "because its weights and a GPU are available")
    from hunyuanocr.backends.ppocr import PpocrBackend

    return PpocrBackend(settings.ppocr), f"PP-OCR runs on the CPU {reason}."


def create_evidence_backend(settings: Settings, backend: Backend) -> Backend | None:
    """Create the CPU backend that grounds a language model's values on the page; None if the settings disable it.

    Return None as well if its packages are not installed: values stay without evidence.
    """
    if settings.pipeline.evidence_backend == "off" or backend.name in (BackendName.PPOCR, BackendName.FAKE):
        return None
    if find_spec("rapidocr") is None or not (find_spec("openvino") or find_spec("onnxruntime")):
        log.warning("The packages of PP-OCR are not installed: extracted values cannot be verified on the page.")
        return None
    from hunyuanocr.backends.ppocr import PpocrBackend
    from hunyuanocr.cpu_count import usable_cpus

    ppocr = settings.ppocr
    threads = ppocr.threads or max(1, min(_MAX_EVIDENCE_THREADS, usable_cpus() // 2))
    workers = max(ppocr.workers, threads // _THREADS_PER_PAGE)
    return PpocrBackend(ppocr.model_copy(update={"threads": threads, "workers": workers}))


def _torch(settings: Settings, reason: str) -> tuple[Backend, str]:
    folder = verify(settings.model_path).folder
    if missing := _missing_packages():
        raise MissingDependency(f"The backend 'torch' requires packages: {', '.join(missing)}.", hint=_INSTALL_HINT)
    from hunyuanocr.backends.torch_local import TorchGenerator
    from hunyuanocr.backends.torch_local.loader import choose_device
    from hunyuanocr.backends.vlm.backend import VlmBackend

    device = choose_device(settings.device)
    backend = VlmBackend(TorchGenerator(settings.model_copy(update={"model_path": folder, "device": str(device)})))
    place = "the CPU (slow)" if device.type == "cpu" else f"the GPU {device}"
    return backend, f"HunyuanOCR ({backend.model}) runs on {place} {reason}."


def _vllm(settings: Settings) -> tuple[Backend, str]:
    from hunyuanocr.backends.vllm_server import VllmGenerator
    from hunyuanocr.backends.vlm.backend import VlmBackend

    if settings.vllm.url is not None:
        return VlmBackend(VllmGenerator(settings)), f"HunyuanOCR runs on the vLLM server at {settings.vllm.url}."
    backend = VlmBackend(VllmGenerator(settings, verify(settings.model_path).folder))
    return backend, f"HunyuanOCR ({backend.model}) runs on vLLM because it was requested."


def model_unavailable_reason(settings: Settings) -> str | None:
    """Return why `auto` does not select the model ("because …"), or None if it can run. Cheap checks come first."""
    try:
        verify(settings.model_path)
    except ConfigError as e:
        return f"because the model's weights cannot be used: {e.message.rstrip('.')}"
    return _gpu_unavailable_reason(settings.device)


def _gpu_unavailable_reason(device: str) -> str | None:
    if device == "cpu":
        return "because --device cpu excludes the GPU, and PP-OCR is faster on a CPU"
    if not has_gpu():
        return "because no NVIDIA GPU was found"
    if missing := _missing_packages():
        return f"because the model requires packages: {', '.join(missing)} (./launch_web_pt.sh installs them)"
    import torch  # takes seconds; the only way to detect an incompatible driver or a build without CUDA

    return None if torch.cuda.is_available() else "because PyTorch cannot use the GPU: its build or the driver is incompatible"


def _missing_packages() -> list[str]:
    return [name for name in _TORCH_PACKAGES if find_spec(name) is None]


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Return whether this process has an NVIDIA GPU, without loading a GPU library."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists() or shutil.which("nvidia-smi") is not None
