"""Whether there is memory for two models at a time."""

from __future__ import annotations

from pathlib import Path

from hunyuanocr.config import Settings

_TIMES = 3  # of the size of 16-bit weights: float32 on a CPU, and room to work
_SPARE = 1 << 30  # bytes


def fits_second_model(settings: Settings, meminfo: Path = Path("/proc/meminfo")) -> bool:
    """Whether another reader fits into memory beside the one that serves.

    Never on a GPU: the engine takes its whole budget there for the KV cache. Elsewhere by the memory that Linux calls available.
    """
    if settings.backend == "ppocr":
        return True
    if settings.device != "cpu":
        from hunyuanocr.backends import has_gpu  # noqa: PLC0415 -- the answer for most: no need to look

        if has_gpu():
            return False
    weights = sum(file.stat().st_size for file in Path(settings.model_path).glob("*.safetensors"))
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return False
    return available > _TIMES * weights + _SPARE
