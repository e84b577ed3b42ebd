"""Software bill of materials (SBOM): CycloneDX 1.6 JSON, of the wheels of a bundle or of the installed packages.

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
    """Return the installed packages of these requirements and their dependencies, by canonical name; others are left out."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in requirements]
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another platform, or an extra that is not installed
            continue
        for inner in {"", *requirement.extras}:
            if (name, inner) not in done:
                done.add((name, inner))
                todo += [(Requirement(line), inner) for line in found[name].requires or ()]
    return found


def licence_of(package: Distribution) -> str:
    """Return the licence that a package declares: its SPDX expression, else its classifiers, else its licence field."""
    declared = package.metadata
    if "License-Expression" in declared:
        return declared["License-Expression"]
    classifiers = [line.rpartition(" :: ")[2] for line in declared.get_all("Classifier") or () if line.startswith("License :: ")]
    named = [name for name in classifiers if name not in ("OSI Approved", "DFSG approved")]
    field = declared["License"].strip() if "License" in declared else ""
    return ", ".join(named) or (field.splitlines()[0][:100] if field else "not stated")


def build_sbom(packages: Iterable[Distribution], version: str, sums: Mapping[str, str] | None = None) -> bytes:
    """Return the SBOM as JSON; `sums`: SHA-256 of the wheels, by canonical name."""
    by_name: dict[str, Distribution] = {canonicalize_name(package.metadata["Name"]): package for package in packages}
    references = {name: f"pkg:pypi/{name}@{package.version}" for name, package in by_name.items()}
    root = {"type": "application", "name": PROJECT, "version": version, "bom-ref": PROJECT, "licenses": _licences("Apache-2.0")}
    bom: dict[str, Any] = {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": root},
        "components": [_component(name, by_name[name], references[name], (sums or {}).get(name)) for name in sorted(by_name)],
        "dependencies": [
            {"ref": PROJECT, "dependsOn": sorted(references.values())},
            *({"ref": references[name], "dependsOn": _dependencies(by_name[name], references)} for name in sorted(by_name)),
        ],
    }  # fmt: skip
    return (json.dumps(bom, indent=1, ensure_ascii=False) + "\n").encode()


def _component(name: str, package: Distribution, reference: str, digest: str | None) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": package.version,
        "bom-ref": reference,
        "purl": reference,
        "licenses": _licences(licence_of(package)),
    }
    if digest:
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


def _licences(declared: str) -> list[dict[str, Any]]:
    """Return the licence as a free name: not every package uses SPDX, and a wrong identifier is worse than none."""
    return [{"license": {"name": declared}}]


def _dependencies(package: Distribution, references: Mapping[str, str]) -> list[str]:
    lines = (Requirement(line) for line in package.requires or ())
    names = {canonicalize_name(r.name) for r in lines if r.marker is None or r.marker.evaluate({"extra": ""})}
    return sorted(references[name] for name in names if name in references)
