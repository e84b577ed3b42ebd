"""Settings of a training run in one TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hunyuanocr.errors import InvalidValue

_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
_TYPE_NAMES = {"int": "integer of 0 or more", "float": "number of 0 or more", "str": "string", "bool": "boolean"}


@dataclass(frozen=True)
class CurriculumStage:
    """A level of the curriculum; it ends when its running loss (answers, or characters without prompts) is below `until`."""

    name: str
    batch: int
    until: float = 0.0


@dataclass(frozen=True)
class Adapter:
    """Size of a LoRA adapter: rank, and scale (divided by the rank)."""

    rank: int = 16
    alpha: float = 32.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidValue("The rank of an adapter must not be 0.", hint="Use 8, 16 or 32.")


@dataclass(frozen=True)
class TrainConfig:
    """Training settings. Learning rates are constant after `warmup` steps and decay to zero in the last `decay_minutes` or
    `decay_steps`.
    """

    levels: tuple[CurriculumStage, ...]
    seed: int = 1
    rate: float = 5e-4  # AdamW: embeddings, norms, and all weights if `matrix_rate` is 0
    matrix_rate: float = 0.0  # Muon: matrices of hidden layers
    warmup: int = 100
    decay_minutes: float = 0.0
    decay_steps: int = 0
    weight_decay: float = 0.05
    clip: float = 1.0
    reading: float = 1.0  # weight of the auxiliary task, if positions of characters are known
    review: float = 0.2  # share of steps that repeat an earlier level
    save_minutes: float = 4.0
    recompute: bool = False  # gradient checkpointing: about a seventh of the activation memory, a third more time
    adapter: Adapter = Adapter()  # for `hunyuanocr finetune --method lora`


def load(file: Path, base: TrainConfig | None = None) -> TrainConfig:
    """Read a recipe; missing settings are taken from `base`. Raises InvalidValue with what is wrong in the file."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        if "levels" in data:
            data["levels"] = tuple(CurriculumStage(**_validated(CurriculumStage, level, file)) for level in data["levels"])
        if "adapter" in data:
            data["adapter"] = Adapter(**_validated(Adapter, data["adapter"], file))
        recipe = replace(base or TrainConfig(levels=()), **_validated(TrainConfig, data, file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as e:
        raise InvalidValue(f"Cannot use the recipe {file}: {e}.", hint="Compare it with demo_model/demo.toml.") from e
    if not recipe.levels:
        raise InvalidValue(f"The recipe {file} has no levels.", hint="Add at least one [[levels]].")
    return recipe


def _validated(kind: type, data: Any, file: Path) -> dict[str, Any]:
    """Return a table of settings with known names and valid types. Raises InvalidValue and TypeError."""
    if not isinstance(data, dict):
        raise TypeError(f"{kind.__name__.lower()} is not a table")
    types = {field.name: str(field.type) for field in fields(kind)}
    if unknown := data.keys() - types.keys():
        raise InvalidValue(f"{file} has unknown settings: {', '.join(sorted(unknown))}.", hint="Correct their spelling.")
    for name, value in data.items():
        if (allowed := _TYPES.get(types[name])) and not (type(value) in allowed and _is_non_negative(value)):
            raise TypeError(f"{name} = {value!r} is not a {_TYPE_NAMES[types[name]]}")
    return data


def _is_non_negative(value: float | str) -> bool:
    """Return whether a number is finite and at least 0; True for strings."""
    return isinstance(value, str) or (math.isfinite(value) and value >= 0)
