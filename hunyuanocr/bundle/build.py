"""Puts a bundle together: what goes in, its manifest and checksums, and what an update may leave out."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename

from hunyuanocr.bundle import sbom, wheels
from hunyuanocr.bundle.archive import ENDINGS, BundleFailed, Content, check_archive, read_manifest, write
from hunyuanocr.bundle.install import APP, CONFIG, MANIFEST, SBOM, SUMS, WHEELS, sha256_of
from hunyuanocr.bundle.sources import project_files
from hunyuanocr.weights import verify

_INSTALLERS = {"install.sh": "scripts/install.sh", "install.py": "hunyuanocr/bundle/install.py"}
_ALWAYS = f"{APP}/scripts/bootstrap.sh"  # the installer needs it, in an update too


@dataclass(frozen=True)
class BundleSpec:
    """What a bundle is to hold: extras of pyproject.toml, folders of weights, a settings file; `base` makes it an update."""

    extras: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    config: Path | None = None
    base: Path | None = None


@dataclass(frozen=True)
class BundleInfo:
    """A bundle that was made: its size in bytes, how many files it carries of how many, and the driver that it asks for."""

    path: Path
    bytes: int
    carried: int
    files: int
    cuda: str | None
    driver: str | None


def build(out: Path, root: Path, spec: BundleSpec) -> BundleInfo:
    """Make the bundle of the project in `root`, for the Python and the kind of machine that run this. Raises BundleFailed.

    Weights are verified first (WeightsMissing, WeightsBroken). Beside the archive lies its checksum, as OUT.sha256.
    """
    if not out.name.endswith(ENDINGS):
        raise BundleFailed(f"{out.name} has none of the endings {', '.join(ENDINGS)}.", hint="Name the archive so.")
    if not out.absolute().parent.is_dir():
        raise BundleFailed(f"There is no folder {out.absolute().parent}.", hint="Make it first, or name another.")
    before = None if spec.base is None else read_manifest(spec.base)
    files = _own_files(root, spec)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".bundle-") as place:
        brought = wheels.download_wheels(root, spec.extras, Path(place))
        files |= {f"{WHEELS}/{wheel.name}": wheel for wheel in brought}
        listed = {name: [path.stat().st_size, sha256_of(path)] for name, path in sorted(files.items())}
        manifest = _manifest(root, spec, brought, listed)
        carried = {name: files[name] for name in listed if _is_new(name, listed, before)}
        contents = _contents(root, manifest, _sbom(brought, manifest["version"], listed), carried)
        write(out, f"{manifest['name']}-{manifest['version']}{'-update' if before else ''}", contents)
        check_archive(out)  # a file that changed meanwhile is found here, not in the shop
    out.with_name(f"{out.name}.sha256").write_text(f"{sha256_of(out)}  {out.name}\n", encoding="utf-8")
    return BundleInfo(out, out.stat().st_size, len(carried), len(listed), manifest["cuda"], manifest["driver"])


def _own_files(root: Path, wanted: BundleSpec) -> dict[str, Path]:
    files = {f"{APP}/{name}": root / name for name in project_files(root)}
    for given in wanted.weights:
        folder = verify(given).folder.resolve()
        inner = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
        files |= {f"{APP}/models/{folder.name}/{path.relative_to(folder).as_posix()}": path for path in inner}
    if wanted.config is not None:
        _check_config(wanted.config)
        files[f"{APP}/{CONFIG}"] = wanted.config
    return files


def _check_config(file: Path) -> None:
    """A file with a mistake would stop the appliance where nobody can mend it."""
    from hunyuanocr.config import Settings  # noqa: PLC0415 -- only where one was given

    try:
        Settings.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as e:
        raise BundleFailed(f"The settings file {file} cannot be used: {e}.") from e


def _manifest(root: Path, wanted: BundleSpec, brought: list[Path], listed: Mapping[str, list[Any]]) -> dict[str, Any]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cuda = wheels.cuda_of(brought)
    return {
        "format": 1, "name": project["name"], "version": project["version"], "extras": list(wanted.extras),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}", "machine": platform.machine(),
        "glibc": wheels.glibc_of(brought), "cuda": cuda, "driver": None if cuda is None else wheels.driver_for(cuda),
        "update": wanted.base is not None, "files": dict(listed),
    }  # fmt: skip


def _is_new(name: str, listed: Mapping[str, list[Any]], before: Mapping[str, Any] | None) -> bool:
    return before is None or name == _ALWAYS or before["files"].get(name) != listed[name]


def _sbom(brought: list[Path], version: str, listed: Mapping[str, list[Any]]) -> bytes:
    sums: dict[str, str] = {canonicalize_name(parse_wheel_filename(w.name)[0]): listed[f"{WHEELS}/{w.name}"][1] for w in brought}
    return sbom.build_sbom([wheels.wheel_metadata(wheel) for wheel in brought], version, sums)


def _contents(root: Path, manifest: dict[str, Any], bill: bytes, carried: Mapping[str, Path]) -> dict[str, Content]:
    """The manifest first, so that an update finds it quickly; then the checksums of everything else."""
    described = (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
    own = {name: root / source for name, source in _INSTALLERS.items()}
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in ((MANIFEST, described), (SBOM, bill))}
    sums |= {name: sha256_of(path) for name, path in own.items()}
    sums |= {name: manifest["files"][name][1] for name in carried}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    return {MANIFEST: described, SUMS: lines.encode(), SBOM: bill, **own, **carried}
