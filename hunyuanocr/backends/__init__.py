"""The one factory of readers: a closed list of names, each imported only when it is chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError


def create_backend(settings: Settings) -> tuple[Backend, str]:
    """The reader that the settings ask for, and one plain sentence that says which one serves and why. Raises ConfigError."""
    name = BackendName(settings.backend)
    if name in {BackendName.TORCH, BackendName.VLLM}:
        raise ConfigError(f"This version serves the CPU reader only; the backend '{name}' is not in it.", hint="--backend ppocr")
    from hunyuanocr.backends.ppocr import PpocrBackend

    why = "because it was asked for" if name is BackendName.PPOCR else _why_not_the_model(settings)
    return PpocrBackend(settings.ppocr), f"The CPU reader (PP-OCR) serves {why}."


def _why_not_the_model(settings: Settings) -> str:
    if not settings.model_path.is_dir():
        return f"because there is no folder of weights at {settings.model_path}"
    if not has_gpu():
        return "because no NVIDIA GPU was found"
    return "because this version has no GPU reader yet"


def has_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether an NVIDIA GPU is there for this process, told without any GPU library."""
    return any(devices.glob("nvidia[0-9]*")) or (devices / "dxg").exists() or shutil.which("nvidia-smi") is not None
