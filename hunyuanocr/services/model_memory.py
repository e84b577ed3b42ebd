"""Check whether memory suffices for two models at the same time."""

from __future__ import annotations

from pathlib import Path

from hunyuanocr.config import Settings

_WEIGHTS_FACTOR = 3  # multiple of the 16-bit weights: float32 on a CPU, and working memory
_RESERVE_BYTES = 1 << 30


def fits_second_model(settings: Settings, meminfo: Path = Path("/proc/meminfo")) -> bool:
    """Return whether another backend fits into memory in addition to the active one.

    Never on a GPU, where the engine uses its whole budget for the KV cache. Elsewhere by Linux's MemAvailable.
    """
    if settings.backend == "ppocr":
        return True
    if settings.device != "cpu":
        from hunyuanocr.backends import has_gpu  # noqa: PLC0415 -- not needed in most cases

        if has_gpu():
            return False
    try:
        weights = sum(file.stat().st_size for file in Path(settings.model_path).glob("*.safetensors"))
        lines = meminfo.read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return False
    return available > _WEIGHTS_FACTOR * weights + _RESERVE_BYTES
