"""States of a training run on disk: written atomically, the last two are kept."""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from hunyuanocr.errors import WeightsInvalid
from hunyuanocr.files import replacing

MAX_STATES = 2
log = logging.getLogger(__name__)
_READ_ERRORS = (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError, pickle.UnpicklingError)  # for a damaged file


@dataclass
class TrainState:
    """Progress of a run; `curve` holds (samples, level, answer loss, character loss) at intervals."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    level: int = 0
    level_step: int = 0  # steps since the start of the level
    running: float | None = None  # smoothed answer loss of the level
    reading: float | None = None
    curve: list[tuple[int, int, float, float]] = field(default_factory=list)


def save(folder: Path, progress: TrainState, parts: dict[str, Any]) -> Path:
    """Write a state (`state_dict`s by name) and delete all but the newest; states of later steps are damaged and deleted too."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"state-{progress.step:08d}.pt"
    with replacing(file) as part:
        torch.save({"progress": vars(progress), "random": torch.get_rng_state(), **parts}, part)
    newest = [state for state in _files(folder) if state.name <= file.name][-MAX_STATES:]
    for state in _files(folder):
        if state not in newest:
            state.unlink()
    return file


def load_latest(folder: Path) -> tuple[TrainState, dict[str, Any]] | None:
    """Return the newest readable state of the folder; None without states. Raises WeightsInvalid if none is readable."""
    files = _files(folder)
    for file in reversed(files):
        try:
            parts = torch.load(file, weights_only=True, map_location="cpu")
            progress = TrainState(**parts.pop("progress"))
            torch.set_rng_state(parts.pop("random"))
        except _READ_ERRORS as e:
            log.warning("Cannot read %s (%s): using the previous state.", file, str(e).partition("\n")[0][:200])
        else:
            return progress, parts
    if files:
        raise WeightsInvalid(f"None of the {len(files)} states in {folder} is readable.", hint="Delete them to start again.")
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.pt"))
