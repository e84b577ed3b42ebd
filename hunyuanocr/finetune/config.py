"""The settings of a training run: one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hunyuanocr.errors import InvalidValue


@dataclass(frozen=True)
class Level:
    """A level of the curriculum, left when its running loss (of answers, or of reading where none is asked) is under `until`."""

    name: str
    batch: int
    until: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How to train. Rates are constant after `warmup` steps and fall to nothing in the last `decay_minutes` of the time."""

    levels: tuple[Level, ...]
    seed: int = 1
    rate: float = 5e-4  # of AdamW: embeddings, gains, and all weights where `matrix_rate` is 0
    matrix_rate: float = 0.0  # of Muon: matrices of hidden layers
    warmup: int = 100
    decay_minutes: float = 0.0
    weight_decay: float = 0.05
    clip: float = 1.0
    reading: float = 1.0  # weight of the auxiliary task, where places of characters are known
    review: float = 0.2  # share of the steps that repeat an earlier level
    save_minutes: float = 4.0


def load(file: Path) -> Recipe:
    """Read a recipe. Raises InvalidValue, naming what is wrong in the file."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
        levels = tuple(Level(**_known(Level, level, file)) for level in given.pop("levels", ()))
        recipe = Recipe(levels=levels, **_known(Recipe, given, file))
    except (OSError, tomllib.TOMLDecodeError, TypeError) as e:
        raise InvalidValue(f"The recipe {file} cannot be used: {e}.", hint="Compare it with training/demo/demo.toml.") from e
    if not levels:
        raise InvalidValue(f"The recipe {file} has no levels.", hint="Add at least one [[levels]].")
    return recipe


def _known(kind: type, given: dict[str, Any], file: Path) -> dict[str, Any]:
    if odd := given.keys() - {field.name for field in fields(kind)}:
        raise InvalidValue(f"{file} has settings that nobody knows: {', '.join(sorted(odd))}.", hint="Correct their spelling.")
    return given
