"""Where a training run stands, on the disk: written whole or not at all, the last two kept."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hunyuanocr.errors import WeightsInvalid

KEPT = 2
log = logging.getLogger(__name__)
_DAMAGE = (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError, pickle.UnpicklingError)  # what reading it may raise


@dataclass
class TrainState:
    """How far a run has come; `curve` holds (samples, level, loss of answers, loss of reading) now and then."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    level: int = 0
    level_step: int = 0  # steps since the level rose
    running: float | None = None  # smoothed loss of the level's answers
    reading: float | None = None
    curve: list[tuple[int, int, float, float]] = field(default_factory=list)


def save(folder: Path, progress: TrainState, parts: dict[str, Any]) -> Path:
    """Write a state (`state_dict`s by name) and forget all but the newest; later ones are of a run that cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"state-{progress.step:08d}.pt"
    part = file.with_suffix(".part")
    torch.save({"progress": vars(progress), "random": torch.get_rng_state(), **parts}, part)
    part.replace(file)
    kept = [old for old in _files(folder) if old.name <= file.name][-KEPT:]
    for old in _files(folder):
        if old not in kept:
            old.unlink()
    return file


def load_latest(folder: Path) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest state of the folder that can be read, None where there is no state. Raises WeightsBroken where none can be."""
    files = _files(folder)
    for file in reversed(files):
        try:
            found = torch.load(file, weights_only=True, map_location="cpu")
            progress = TrainState(**found.pop("progress"))
            torch.set_rng_state(found.pop("random"))
        except _DAMAGE as e:
            log.warning("%s cannot be read (%s): the state before it is used.", file, str(e).partition("\n")[0][:200])
        else:
            return progress, found
    if files:
        raise WeightsInvalid(f"None of the {len(files)} states in {folder} can be read.", hint="Delete them to begin anew.")
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.pt"))
