"""Requirements of the appliance and its extras for pip, including the build requirements of the project.

Container images and bundles install packages before the project's code, or without it. Standard library only, so that it can
run as a script:

    python requirements.py ROOT EXTRA…      prints one requirement per line
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def requirements(root: Path, extras: Iterable[str] = ()) -> list[str]:
    """Return the requirements of the appliance, these extras and the build. Raises KeyError for an unknown extra."""
    return [*runtime_requirements(root, extras), *_pyproject(root)["build-system"]["requires"]]


def runtime_requirements(root: Path, extras: Iterable[str] = ()) -> list[str]:
    """Return the requirements of the appliance and these extras alone. Raises KeyError for an unknown extra."""
    project = _pyproject(root)["project"]
    return [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]


def extras(root: Path) -> list[str]:
    """Return the extras of the appliance: all except `dev`."""
    return [extra for extra in _pyproject(root)["project"]["optional-dependencies"] if extra != "dev"]


def _pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
