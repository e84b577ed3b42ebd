"""Base class of all groups of settings, and the type of their paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_MAX_PATH_BYTES, _MAX_NAME_BYTES = 4095, 255  # limits of Linux


class SettingsGroup(BaseModel):
    """A group of settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def _usable_path(path: Path) -> Path:
    """Expand `~`. Raises ValueError for a path that no file can have."""
    if "\0" in str(path):
        raise ValueError("a path cannot contain a NUL character")
    try:
        expanded = path.expanduser()
    except RuntimeError:
        raise ValueError(f"the user of '{path.parts[0][:_MAX_NAME_BYTES]}' does not exist on this machine") from None
    if len(os.fsencode(expanded)) > _MAX_PATH_BYTES or any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in expanded.parts):
        raise ValueError(f"the path is too long (at most {_MAX_NAME_BYTES} bytes for each name, {_MAX_PATH_BYTES} in total)")
    return expanded


UserPath = Annotated[Path, AfterValidator(_usable_path)]
