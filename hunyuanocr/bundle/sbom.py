"""A bill of materials: CycloneDX 1.6 as JSON, of the wheels of a bundle or of what is installed here.

Format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "hunyuanocr-edge"


def installed_dependencies(requirements: Iterable[str]) -> dict[str, Distribution]:
    """What is installed here of these requirements and all that they ask for, by canonical name. What is not here is left out."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in requirements]
    while todo:
        wanted, extra = todo.pop()
        name = canonicalize_name(wanted.name)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another platform, or an extra that is not installed
            continue
        for inner in {"", *wanted.extras}:
            if (name, inner) not in done:
                done.add((name, inner))
                todo += [(Requirement(line), inner) for line in found[name].requires or ()]
    return found


def licence_of(package: Distribution) -> str:
    """Its licence in the package's own words: an SPDX expression where it gives one, else its classifiers, else its field."""
    said = package.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    classifiers = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier") or () if line.startswith("License :: ")]
    named = [name for name in classifiers if name not in ("OSI Approved", "DFSG approved")]
    field = said["License"].strip() if "License" in said else ""
    return ", ".join(named) or (field.splitlines()[0][:100] if field else "not stated")


def build_sbom(packages: Iterable[Distribution], version: str, sums: Mapping[str, str] | None = None) -> bytes:
    """The bill as JSON; `sums` has the SHA-256 of the wheels, by canonical name."""
    by_name: dict[str, Distribution] = {canonicalize_name(package.metadata["Name"]): package for package in packages}
    references = {name: f"pkg:pypi/{name}@{package.version}" for name, package in by_name.items()}
    root = {"type": "application", "name": PROJECT, "version": version, "bom-ref": PROJECT, "licenses": _licences("Apache-2.0")}
    found: dict[str, Any] = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": root},
        "components": [_component(name, by_name[name], references[name], (sums or {}).get(name)) for name in sorted(by_name)],
        "dependencies": [
            {"ref": PROJECT, "dependsOn": sorted(references.values())},
            *({"ref": references[name], "dependsOn": _asked(by_name[name], references)} for name in sorted(by_name)),
        ],
    }  # fmt: skip
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode()


def _component(name: str, package: Distribution, reference: str, digest: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library", "name": name, "version": package.version, "bom-ref": reference, "purl": reference,
        "licenses": _licences(licence_of(package)),
    }  # fmt: skip
    if digest:
        found["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return found


def _licences(said: str) -> list[dict[str, Any]]:
    """As a free name: not every package words its licence in SPDX, and a wrong identifier is worse than none."""
    return [{"license": {"name": said}}]


def _asked(package: Distribution, references: Mapping[str, str]) -> list[str]:
    wanted = (Requirement(line) for line in package.requires or ())
    names = {canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})}
    return sorted(references[name] for name in names if name in references)
