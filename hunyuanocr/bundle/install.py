"""Install an unpacked bundle. Every bundle contains a copy of this file, which runs as a script: standard library only.

    python install.py BUNDLE FOLDER|--check

Nothing is written before all checksums are verified. A second run resumes an interrupted one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST, SUMS, SBOM = "bundle.json", "SHA256SUMS", "sbom.cdx.json"
APP, WHEELS = "app", "wheels"  # folders of a bundle; `app` is copied to the folder of the appliance
CONFIG = "config.toml"  # settings of the owner: never replaced by an update
_BLOCK = 1 << 20


class CannotInstall(Exception):
    """The reason why the bundle cannot be installed, and a hint."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as f:
        while block := f.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def parse_sums(text: str) -> dict[str, str]:
    """Return path → checksum of a SHA256SUMS. Raises ValueError for an invalid line or a path outside the bundle."""
    sums = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or not name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"invalid checksum line: {line[:100]}")
        sums[name] = digest
    return sums


def damaged(bundle: Path) -> list[str]:
    """Return the files of an unpacked bundle that are missing or have a wrong checksum."""
    try:
        sums = parse_sums((bundle / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [SUMS]
    wrong = [name for name, digest in sums.items() if not (bundle / name).is_file() or sha256_of(bundle / name) != digest]
    return wrong if MANIFEST in sums else [*wrong, MANIFEST]


def destination(name: str) -> str | None:
    """Return the path of a bundled file in the appliance's folder; None for the installer's own files."""
    if name.startswith(f"{APP}/"):
        return name.removeprefix(f"{APP}/")
    return name if name.startswith(f"{WHEELS}/") else None


def check(bundle: Path) -> dict[str, Any]:
    """Return the bundle's manifest. Raises CannotInstall if the bundle is damaged."""
    if wrong := damaged(bundle):
        listed = ", ".join(sorted(wrong)[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CannotInstall(
            f"The bundle is damaged: wrong checksum or missing file: {listed}. Nothing was installed.",
            "Copy the archive again, compare its checksum (sha256sum -c), and unpack it again.",
        )
    manifest: dict[str, Any] = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def fits(manifest: dict[str, Any], *, version: str, machine: str, libc: tuple[str, str]) -> None:
    """Raise CannotInstall if this machine cannot use the bundle's wheels."""
    here = f"Python {version} on {machine}"
    if (version, machine) != (manifest["python"], manifest["machine"]):
        raise CannotInstall(
            f"The bundle is for Python {manifest['python']} on {manifest['machine']}; this machine has {here}.",
            "Use a matching Python (HUNYUANOCR_PYTHON=/path/to/python ./install.sh), or create a bundle for this machine.",
        )
    required = manifest["glibc"]
    if libc[0] != "glibc" or _numbers(libc[1]) < _numbers(required):
        raise CannotInstall(
            f"The bundle needs glibc {required} or newer; this machine has {' '.join(libc).strip() or 'another C library'}.",
            "Use a newer system: Debian 12, Ubuntu 22.04 or later.",
        )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def incomplete(bundle: Path, manifest: dict[str, Any], folder: Path) -> list[str]:
    """Return the files that neither the bundle nor the folder has; an update needs files of the previous version."""
    carried = parse_sums((bundle / SUMS).read_text(encoding="utf-8"))
    missing = []
    for name, (_, digest) in manifest["files"].items():
        goal = destination(name)
        if name in carried or goal is None or goal == CONFIG:
            continue
        target = folder / goal
        if not target.is_file() or sha256_of(target) != digest:
            missing.append(goal)
    return missing


def copy(bundle: Path, manifest: dict[str, Any], folder: Path) -> int:
    """Copy the files, each atomically; delete files that only the older version had. Return the number of changes."""
    changed = 0
    for name, (_, digest) in manifest["files"].items():
        goal, source = destination(name), bundle / name
        if goal is None or not source.is_file():
            continue
        target = folder / goal
        if target.is_file() and (goal == CONFIG or sha256_of(target) == digest):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(source, part)
        part.replace(target)
        changed += 1
    for goal in _previous_files(folder) - {destination(name) for name in manifest["files"]} - {CONFIG}:
        (folder / goal).unlink(missing_ok=True)
        changed += 1
    for name in (MANIFEST, SBOM):
        shutil.copy2(bundle / name, folder / name)
    return changed


def _previous_files(folder: Path) -> set[str]:
    """Return the files that an earlier bundle has installed in the folder."""
    try:
        names: Iterable[str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return set()
    goals = {goal for name in names if (goal := destination(name))}
    return {goal for goal in goals if ".." not in PurePosixPath(goal).parts and not PurePosixPath(goal).is_absolute()}


def driver_warning(manifest: dict[str, Any]) -> str | None:
    """Return a warning if the bundle's PyTorch needs a newer NVIDIA driver than this machine has, else None."""
    if not (required := manifest.get("driver")):
        return None
    need = f"PyTorch in this bundle is built for CUDA {manifest['cuda']} and needs the NVIDIA driver {required} or newer"
    if not (program := shutil.which("nvidia-smi")):
        return f"{need}; no driver was found. Until it is installed, the CPU backend is used."
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- fixed arguments
    versions = done.stdout.split()
    if versions and _numbers(versions[0]) >= _numbers(required):
        return None
    present = f"the installed version is {versions[0]}" if versions else "the installed one does not respond"
    return f"{need}; {present}. Until it is updated, the CPU backend is used."


def set_up(folder: Path, extras: list[str]) -> int:
    """Create the folder's .venv from its wheels, as the launcher would; return the exit status."""
    script = 'ROOT=$1; shift; source "$ROOT/scripts/bootstrap.sh"; bootstrap "$@"'
    command = ["bash", "-euo", "pipefail", "-c", script, "install.sh", str(folder), *extras]
    return subprocess.run(command, check=False).returncode  # noqa: S603 -- the bundle's own script


def install(bundle: Path, folder: Path) -> int:
    """Check the bundle, copy its files and create the environment; return the exit status."""
    say = sys.stdout.write
    manifest = check(bundle)
    if folder.resolve() == bundle.resolve():
        raise CannotInstall(
            "The bundle cannot be installed in its own folder.", "Choose another folder: ./install.sh /opt/hunyuanocr"
        )
    fits(manifest, version=f"{sys.version_info[0]}.{sys.version_info[1]}", machine=platform.machine(), libc=platform.libc_ver())
    if missing := incomplete(bundle, manifest, folder):
        raise CannotInstall(
            f"The update does not match the version in {folder}: {len(missing)} files are missing ({missing[0]} …).",
            "Choose the folder of the version that the update is for, or install a full bundle.",
        )
    say(f"All checksums are correct. Installing hunyuanocr {manifest['version']} in {folder} …\n")
    sys.stdout.flush()
    changed = copy(bundle, manifest, folder)
    if status := set_up(folder, manifest["extras"]):
        return status
    if warning := driver_warning(manifest):
        say(f"Note: {warning}\n")
    config = f" --config {CONFIG}" if (folder / CONFIG).is_file() else ""
    say(f"Done ({changed} files changed). Start it with:\n  cd {folder} && ./launch_web_pt.sh --host 0.0.0.0{config}\n")
    return 0


def main(arguments: list[str]) -> int:
    """Run with `BUNDLE FOLDER` or `BUNDLE --check`; return the exit status."""
    bundle, folder = Path(arguments[0]), arguments[1]
    try:
        if folder == "--check":
            sys.stdout.write(f"All {len(check(bundle)['files'])} checksums are correct.\n")
            return 0
        return install(bundle, Path(folder).expanduser().absolute())
    except CannotInstall as e:
        sys.stderr.write(f"Error: {e}\n  {e.hint}\n")
    except OSError as e:
        path = e.filename or folder
        sys.stderr.write(f"Error: Cannot write {path}: {e.strerror or e}.\n  Check free disk space and write permission.\n")
    return 2


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
