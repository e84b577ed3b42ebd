"""What pip must bring for the appliance and the extras named: dependencies, and what builds the project.

Images and bundles bring the packages before the project's code, or without it. Runs by itself: standard library only.

    python requirements.py ROOT EXTRA…      prints the lines
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path


def requirements(root: Path, extras: Iterable[str] = ()) -> list[str]:
    """The lines of the project's pyproject.toml. Raises KeyError for an extra that it does not know."""
    described = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = described["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *optional, *described["build-system"]["requires"]]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]), sys.argv[2:])) + "\n")
