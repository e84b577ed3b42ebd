"""Shared by the benchmarks of the PyTorch engine: random checkpoints, images, machine information, result files."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(ROOT))  # tests/ is not installed

from tests.support.checkpoints import FULL_TEXT, FULL_VISION, random_checkpoint  # noqa: E402

FULL_PIXELS = (512 * 512, 2048 * 2048)  # as in the released model's preprocessor settings
TINY_PIXELS = (64 * 64, 1024 * 1024)


@contextmanager
def checkpoint(given: Path | None, size: str) -> Iterator[Path]:
    """The folder that was given; else one of random weights, `tiny` or `full` (the release's shapes, 2 GB in bfloat16).

    A folder that was given and does not exist yet is made and stays; otherwise it lies in a temporary folder for as long as
    the block runs.
    """
    if given is not None and (given / "config.json").is_file():
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as temporary:
        folder = given or Path(temporary) / f"random-{size}"
        if size == "full":
            random_checkpoint(folder, text=FULL_TEXT, vision=FULL_VISION, dtype="bfloat16", pixels=FULL_PIXELS)
        else:
            random_checkpoint(folder, pixels=TINY_PIXELS)
        yield folder


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Return an RGB image [height, width, 3] of grey blocks that resemble lines of text. The content does not affect cost."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 2, (-(-height // 8), -(-width // 8), 1), dtype=np.uint8) * 255
    return np.ascontiguousarray(np.broadcast_to(small.repeat(8, 0).repeat(8, 1)[:height, :width], (height, width, 3)))


def size_of(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT for argparse."""
    width, height = text.lower().split("x")
    return int(width), int(height)


def sizes_of(text: str) -> list[tuple[int, int]]:
    """Parse comma-separated sizes for argparse."""
    return [size_of(part) for part in text.split(",")]


def numbers_of(text: str) -> list[int]:
    """Parse comma-separated numbers for argparse."""
    return [int(n) for n in text.split(",")]


def machine() -> dict[str, Any]:
    """Return CPU, GPU and versions of a result."""
    import torch

    cpu = next((row.split(":")[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row), "")
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    versions = {name: version(name) for name in ("torch", "transformers", "xgrammar", "numpy")}
    cpus = len(os.sched_getaffinity(0))
    return {
        "cpu": cpu,
        "cpus": cpus,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": versions,
    }


def resident_mib() -> float:
    """Return the resident memory of this process in MiB. Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write(result: dict[str, Any], out: Path) -> None:
    """Write raw figures as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"raw figures: {out}")
