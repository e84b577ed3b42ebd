"""What pip must bring for the appliance and the extras named: dependencies, and what builds the project.

Images and bundles bring the packages before the project's code, or without it. Runs by itself: standard library only.

    python requirements.py ROOT EXTRA…      prints the lines
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def requirements(root: Path, extras: Iterable[str] = ()) -> list[str]:
    """The lines of the project's pyproject.toml. Raises KeyError for an extra that it does not know."""
    described = _described(root)
    project = described["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *optional, *described["build-system"]["requires"]]


def extras(root: Path) -> list[str]:
    """The extras that belong to the appliance: all but that of its developers."""
    return [extra for extra in _described(root)["project"]["optional-dependencies"] if extra != "dev"]


def _described(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
