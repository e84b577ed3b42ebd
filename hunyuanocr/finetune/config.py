"""The settings of a training run: one TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from hunyuanocr.errors import InvalidValue

_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
_SAID = {"int": "whole number of 0 or more", "float": "number of 0 or more", "str": "word", "bool": "true or false"}


@dataclass(frozen=True)
class CurriculumStage:
    """A level of the curriculum, left when its running loss (of answers, or of reading where none is asked) is under `until`."""

    name: str
    batch: int
    until: float = 0.0


@dataclass(frozen=True)
class Adapter:
    """The size of a LoRA: its rank, and its strength, which is divided by the rank."""

    rank: int = 16
    alpha: float = 32.0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidValue("The rank of an adapter is 0.", hint="Give it 8, 16 or 32.")


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Rates are constant after `warmup` steps and fall to nothing in the last `decay_minutes` of a time, or in the
    last `decay_steps` of a number of steps.
    """

    levels: tuple[CurriculumStage, ...]
    seed: int = 1
    rate: float = 5e-4  # of AdamW: embeddings, gains, and all weights where `matrix_rate` is 0
    matrix_rate: float = 0.0  # of Muon: matrices of hidden layers
    warmup: int = 100
    decay_minutes: float = 0.0
    decay_steps: int = 0
    weight_decay: float = 0.05
    clip: float = 1.0
    reading: float = 1.0  # weight of the auxiliary task, where places of characters are known
    review: float = 0.2  # share of the steps that repeat an earlier level
    save_minutes: float = 4.0
    recompute: bool = False  # activations for the gradients: about a seventh of their memory, a third more time
    adapter: Adapter = Adapter()  # of `hunyuanocr finetune --method lora`


def load(file: Path, base: TrainConfig | None = None) -> TrainConfig:
    """Read a recipe; what it does not say is as in `base`. Raises InvalidValue, naming what is wrong in the file."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
        if "levels" in given:
            given["levels"] = tuple(CurriculumStage(**_known(CurriculumStage, level, file)) for level in given["levels"])
        if "adapter" in given:
            given["adapter"] = Adapter(**_known(Adapter, given["adapter"], file))
        recipe = replace(base or TrainConfig(levels=()), **_known(TrainConfig, given, file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as e:
        raise InvalidValue(f"The recipe {file} cannot be used: {e}.", hint="Compare it with demo_model/demo.toml.") from e
    if not recipe.levels:
        raise InvalidValue(f"The recipe {file} has no levels.", hint="Add at least one [[levels]].")
    return recipe


def _known(kind: type, given: Any, file: Path) -> dict[str, Any]:
    """A table's settings, all of them known and of the right type. Raises InvalidValue and TypeError."""
    if not isinstance(given, dict):
        raise TypeError(f"{kind.__name__.lower()} is no table")
    types = {field.name: str(field.type) for field in fields(kind)}
    if odd := given.keys() - types.keys():
        raise InvalidValue(f"{file} has settings that nobody knows: {', '.join(sorted(odd))}.", hint="Correct their spelling.")
    for name, value in given.items():
        if (kind_of := _TYPES.get(types[name])) and not (type(value) in kind_of and _is_counted(value)):
            raise TypeError(f"{name} = {value!r} is no {_SAID[types[name]]}")
    return given


def _is_counted(value: float | str) -> bool:
    """Whether a number is finite and not below 0; words are."""
    return isinstance(value, str) or (math.isfinite(value) and value >= 0)
