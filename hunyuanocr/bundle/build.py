"""Build a bundle: its contents, manifest and checksums, and the files that an update can leave out."""

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

from hunyuanocr import __version__
from hunyuanocr.bundle import sbom, wheels
from hunyuanocr.bundle.archive import ENDINGS, BundleFailed, Content, check_archive, read_manifest, write
from hunyuanocr.bundle.install import APP, CONFIG, MANIFEST, SBOM, SUMS, WHEELS, sha256_of
from hunyuanocr.bundle.sources import project_files
from hunyuanocr.weights import verify

_INSTALLERS = {"install.sh": "scripts/install.sh", "install.py": "hunyuanocr/bundle/install.py"}
_ALWAYS = f"{APP}/scripts/bootstrap.sh"  # the installer needs it, even in an update


@dataclass(frozen=True)
class BundleSpec:
    """Contents of a bundle: extras of pyproject.toml, folders of weights, a settings file; `base` makes it an update."""

    extras: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    config: Path | None = None
    base: Path | None = None


@dataclass(frozen=True)
class BundleInfo:
    """A finished bundle: size in bytes, number of included and of all files, CUDA version and minimum NVIDIA driver."""

    path: Path
    bytes: int
    carried: int
    files: int
    cuda: str | None
    driver: str | None


def build(out: Path, root: Path, spec: BundleSpec) -> BundleInfo:
    """Build the bundle of the project in `root`, for this Python version and machine type. Raises BundleFailed.

    Weights are verified first (WeightsMissing, WeightsInvalid). The checksum of the archive is written to OUT.sha256.
    """
    if not out.name.endswith(ENDINGS):
        raise BundleFailed(f"{out.name} does not end with {', '.join(ENDINGS)}.", hint="Use a file name with such an ending.")
    if not out.absolute().parent.is_dir():
        raise BundleFailed(f"Folder {out.absolute().parent} not found.", hint="Create it first, or use another one.")
    before = None if spec.base is None else read_manifest(spec.base)
    files = _own_files(root, spec)
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".bundle-") as folder:
        downloaded = wheels.download_wheels(root, spec.extras, Path(folder))
        files |= {f"{WHEELS}/{wheel.name}": wheel for wheel in downloaded}
        listed = {name: [path.stat().st_size, sha256_of(path)] for name, path in sorted(files.items())}
        manifest = _manifest(root, spec, downloaded, listed)
        carried = {name: files[name] for name in listed if _is_new(name, listed, before)}
        contents = _contents(root, manifest, _sbom(downloaded, manifest["version"], listed), carried)
        write(out, f"{manifest['name']}-{manifest['version']}{'-update' if before else ''}", contents)
        check_archive(out)  # detects files that changed during the build
    out.with_name(f"{out.name}.sha256").write_text(f"{sha256_of(out)}  {out.name}\n", encoding="utf-8")
    return BundleInfo(out, out.stat().st_size, len(carried), len(listed), manifest["cuda"], manifest["driver"])


def _own_files(root: Path, spec: BundleSpec) -> dict[str, Path]:
    files = {f"{APP}/{name}": root / name for name in project_files(root)}
    for weights in spec.weights:
        folder = verify(weights).folder.resolve()
        inner = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
        files |= {f"{APP}/models/{folder.name}/{path.relative_to(folder).as_posix()}": path for path in inner}
    if spec.config is not None:
        _check_config(spec.config)
        files[f"{APP}/{CONFIG}"] = spec.config
    return files


def _check_config(file: Path) -> None:
    """Raise BundleFailed for an invalid settings file, which would prevent the start after the installation."""
    from hunyuanocr.config import Settings  # noqa: PLC0415 -- only needed with a settings file

    try:
        Settings.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as e:
        raise BundleFailed(f"Cannot use the settings file {file}: {e}.") from e


def _manifest(root: Path, spec: BundleSpec, downloaded: list[Path], listed: Mapping[str, list[Any]]) -> dict[str, Any]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cuda = wheels.cuda_of(downloaded)
    return {
        "format": 1, "name": project["name"], "version": project.get("version", __version__), "extras": list(spec.extras),
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}", "machine": platform.machine(),
        "glibc": wheels.glibc_of(downloaded), "cuda": cuda, "driver": None if cuda is None else wheels.driver_for(cuda),
        "update": spec.base is not None, "files": dict(listed),
    }  # fmt: skip


def _is_new(name: str, listed: Mapping[str, list[Any]], before: Mapping[str, Any] | None) -> bool:
    return before is None or name == _ALWAYS or before["files"].get(name) != listed[name]


def _sbom(downloaded: list[Path], version: str, listed: Mapping[str, list[Any]]) -> bytes:
    names = {wheel: canonicalize_name(parse_wheel_filename(wheel.name)[0]) for wheel in downloaded}
    sums: dict[str, str] = {name: listed[f"{WHEELS}/{wheel.name}"][1] for wheel, name in names.items()}
    return sbom.build_sbom([wheels.wheel_metadata(wheel) for wheel in downloaded], version, sums)


def _contents(root: Path, manifest: dict[str, Any], bom: bytes, carried: Mapping[str, Path]) -> dict[str, Content]:
    """Return the files in order: the manifest first, so that an update finds it quickly; then checksums; then the rest."""
    encoded = (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
    own = {name: root / source for name, source in _INSTALLERS.items()}
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in ((MANIFEST, encoded), (SBOM, bom))}
    sums |= {name: sha256_of(path) for name, path in own.items()}
    sums |= {name: manifest["files"][name][1] for name in carried}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    return {MANIFEST: encoded, SUMS: lines.encode(), SBOM: bom, **own, **carried}
