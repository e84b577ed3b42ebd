"""Installs an unpacked bundle. A copy of this file lies in every bundle and runs there by itself: standard library only.

    python install.py BUNDLE FOLDER|--check

Nothing is written before every file of the bundle has the right checksum, and a second run goes on where a first was cut off.
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
APP, WHEELS = "app", "wheels"  # folders of a bundle; what is in `app` comes to the folder of the appliance itself
CONFIG = "config.toml"  # the owner's: never replaced by an update
_BLOCK = 1 << 20


class CannotInstall(Exception):
    """What is in the way, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def sha256_of(file: Path) -> str:
    """The checksum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as f:
        while block := f.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def parse_sums(text: str) -> dict[str, str]:
    """Path → checksum of a SHA256SUMS. Raises ValueError for a line that is none, and for a path that leads out of the bundle."""
    found = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or not name or path.is_absolute() or ".." in path.parts:
            raise ValueError(f"no checksum: {line[:100]}")
        found[name] = digest
    return found


def damaged(bundle: Path) -> list[str]:
    """Files of an unpacked bundle that are missing or not as they were when it was made."""
    try:
        sums = parse_sums((bundle / SUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [SUMS]
    wrong = [name for name, digest in sums.items() if not (bundle / name).is_file() or sha256_of(bundle / name) != digest]
    return wrong if MANIFEST in sums else [*wrong, MANIFEST]


def destination(name: str) -> str | None:
    """Where a file of the bundle comes to, from the appliance's folder; None for the installer's own files."""
    if name.startswith(f"{APP}/"):
        return name.removeprefix(f"{APP}/")
    return name if name.startswith(f"{WHEELS}/") else None


def check(bundle: Path) -> dict[str, Any]:
    """The bundle's manifest. Raises CannotInstall for a damaged bundle."""
    if wrong := damaged(bundle):
        listed = ", ".join(sorted(wrong)[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CannotInstall(
            f"The bundle is damaged: {listed} is not as it was when the bundle was made. Nothing was installed.",
            "Copy the archive again, compare its own checksum (sha256sum -c), and unpack it again.",
        )
    found: dict[str, Any] = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    return found


def fits(manifest: dict[str, Any], *, version: str, machine: str, libc: tuple[str, str]) -> None:
    """Raises CannotInstall where this machine cannot use the bundle's wheels."""
    here = f"Python {version} on {machine}"
    if (version, machine) != (manifest["python"], manifest["machine"]):
        raise CannotInstall(
            f"The bundle is for Python {manifest['python']} on {manifest['machine']}; here is {here}.",
            "Name a Python that fits (HUNYUANOCR_PYTHON=/path/to/python ./install.sh), or have a bundle made for this one.",
        )
    wanted = manifest["glibc"]
    if libc[0] != "glibc" or _numbers(libc[1]) < _numbers(wanted):
        raise CannotInstall(
            f"The bundle wants glibc {wanted} or newer; here is {' '.join(libc).strip() or 'another C library'}.",
            "Use a newer system: Debian 12, Ubuntu 22.04 or a later one.",
        )


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def incomplete(bundle: Path, manifest: dict[str, Any], folder: Path) -> list[str]:
    """Files that neither the bundle nor the folder has as the manifest wants them: of an update, those of the version before."""
    carried = parse_sums((bundle / SUMS).read_text(encoding="utf-8"))
    lost = []
    for name, (_, digest) in manifest["files"].items():
        goal = destination(name)
        if name in carried or goal is None or goal == CONFIG:
            continue
        there = folder / goal
        if not there.is_file() or sha256_of(there) != digest:
            lost.append(goal)
    return lost


def copy(bundle: Path, manifest: dict[str, Any], folder: Path) -> int:
    """Bring the files to the folder, each whole or not at all; returns how many changed. What the older version had more goes."""
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
    for goal in _of_before(folder) - {destination(name) for name in manifest["files"]} - {CONFIG}:
        (folder / goal).unlink(missing_ok=True)
        changed += 1
    for name in (MANIFEST, SBOM):
        shutil.copy2(bundle / name, folder / name)
    return changed


def _of_before(folder: Path) -> set[str]:
    """The files that an earlier bundle brought to the folder."""
    try:
        names: Iterable[str] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return set()
    goals = {goal for name in names if (goal := destination(name))}
    return {goal for goal in goals if ".." not in PurePosixPath(goal).parts and not PurePosixPath(goal).is_absolute()}


def driver_warning(manifest: dict[str, Any]) -> str | None:
    """A sentence where the bundle's PyTorch wants another NVIDIA driver than is here; None where all is well."""
    if not (wanted := manifest.get("driver")):
        return None
    what = f"PyTorch in this bundle is built for CUDA {manifest['cuda']}, which wants the NVIDIA driver {wanted} or newer"
    if not (program := shutil.which("nvidia-smi")):
        return f"{what}; no driver was found here. Until it is installed, the CPU reader serves."
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 -- a fixed question
    found = done.stdout.split()
    if found and _numbers(found[0]) >= _numbers(wanted):
        return None
    return f"{what}; here is {found[0] if found else 'none that answers'}. Until it is renewed, the CPU reader serves."


def set_up(folder: Path, extras: list[str]) -> int:
    """Make the folder's .venv of its wheels alone, as the launcher would; the exit status."""
    script = 'ROOT=$1; shift; source "$ROOT/scripts/bootstrap.sh"; bootstrap "$@"'
    command = ["bash", "-euo", "pipefail", "-c", script, "install.sh", str(folder), *extras]
    return subprocess.run(command, check=False).returncode  # noqa: S603 -- the bundle's own script


def install(bundle: Path, folder: Path) -> int:
    """All of it; the exit status."""
    say = sys.stdout.write
    manifest = check(bundle)
    if folder.resolve() == bundle.resolve():
        raise CannotInstall(
            "The bundle cannot be installed in its own folder.", "Name another folder: ./install.sh /opt/hunyuanocr"
        )
    fits(manifest, version=f"{sys.version_info[0]}.{sys.version_info[1]}", machine=platform.machine(), libc=platform.libc_ver())
    if lost := incomplete(bundle, manifest, folder):
        raise CannotInstall(
            f"This update does not fit what is in {folder}: {len(lost)} files of the version before are not there ({lost[0]} …).",
            "Name the folder of the version that it was made for, or install a whole bundle.",
        )
    say(f"The bundle is whole. Installing hunyuanocr {manifest['version']} in {folder} …\n")
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
    """`BUNDLE FOLDER` or `BUNDLE --check`; the exit status."""
    bundle, folder = Path(arguments[0]), arguments[1]
    try:
        if folder == "--check":
            sys.stdout.write(f"The bundle is whole: {len(check(bundle)['files'])} files.\n")
            return 0
        return install(bundle, Path(folder).expanduser().absolute())
    except CannotInstall as e:
        sys.stderr.write(f"Error: {e}\n  {e.hint}\n")
    except OSError as e:
        where = e.filename or folder
        sys.stderr.write(f"Error: {where} cannot be written: {e.strerror or e}.\n  Free space or rights, then again.\n")
    return 2


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
