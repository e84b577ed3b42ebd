"""Prints what pip must bring for the appliance and the extras named, a line each: dependencies and what builds the project.

For images and bundles, which bring the packages before (or without) the project's own code. Standard library only.
"""

import sys
import tomllib
from pathlib import Path


def requirements(root: Path, extras: list[str]) -> list[str]:
    """The lines of pyproject.toml. Raises KeyError for an extra that it does not know."""
    described = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project = described["project"]
    optional = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *optional, *described["build-system"]["requires"]]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(__file__).resolve().parents[1], sys.argv[1:])) + "\n")
