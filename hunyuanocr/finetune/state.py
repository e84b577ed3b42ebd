"""Where a training run stands, on the disk: written whole or not at all, the last two kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hunyuanocr.errors import WeightsBroken

KEPT = 2


@dataclass
class Progress:
    """How far a run has come; `curve` holds (samples, level, loss of answers, loss of reading) now and then."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    level: int = 0
    level_step: int = 0  # steps since the level rose
    running: float | None = None  # smoothed loss of the level's answers
    reading: float | None = None
    curve: list[tuple[int, int, float, float]] = field(default_factory=list)


def write(folder: Path, progress: Progress, parts: dict[str, Any]) -> Path:
    """Write a state (`state_dict`s by name) and forget all but the newest."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"state-{progress.step:08d}.pt"
    part = file.with_suffix(".part")
    torch.save({"progress": vars(progress), "random": torch.get_rng_state(), **parts}, part)
    part.replace(file)
    for old in _files(folder)[:-KEPT]:
        old.unlink()
    return file


def newest(folder: Path) -> tuple[Progress, dict[str, Any]] | None:
    """The newest state of the folder, None where there is none. Raises WeightsBroken where it cannot be read."""
    files = _files(folder)
    if not files:
        return None
    try:
        found = torch.load(files[-1], weights_only=True, map_location="cpu")
        progress = Progress(**found.pop("progress"))
        torch.set_rng_state(found.pop("random"))
    except (RuntimeError, KeyError, TypeError, EOFError, OSError) as e:
        raise WeightsBroken(f"{files[-1]} cannot be read: {e}.", hint="Delete it: the state before it is used then.") from e
    return progress, found


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.pt"))
