"""The wheels of a bundle: download with pip's own settings, and read their metadata."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

from packaging.utils import parse_wheel_filename

from hunyuanocr.bundle.archive import BundleFailed
from hunyuanocr.bundle.requirements import requirements

# The oldest NVIDIA driver (Linux) for each major version of CUDA, by NVIDIA's minor version compatibility:
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (table "CUDA Toolkit and Minimum Required Driver Version").
_DRIVERS = {11: "450", 12: "525", 13: "580"}
_CUDA = re.compile(r"^(?:cuda-toolkit|nvidia-cuda-runtime(?:-cu\d+)?)\b[^=]*==\s*(\d+)\.(\d+)")
_MIN_GLIBC = (2, 17)


def download_wheels(root: Path, extras: Sequence[str], folder: Path) -> list[Path]:
    """Download the pinned wheels of the project and its extras to `folder`; return them sorted. Raises BundleFailed."""
    lines = folder / "requirements.txt"
    try:
        lines.write_text("\n".join(requirements(root, extras)) + "\n", encoding="utf-8")
    except KeyError as e:
        raise BundleFailed(f"Unknown extra {e}.", hint="See [project.optional-dependencies] in pyproject.toml.") from e
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        "-c",
        str(root / "constraints.txt"),
        "-r",
        str(lines),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed arguments
    lines.unlink()
    if done.returncode:
        output = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[-500:]
        raise BundleFailed(f"pip cannot download the packages: {output or f'exit status {done.returncode}'}")
    return sorted(folder.glob("*.whl"))


def wheel_metadata(wheel: Path) -> Distribution:
    """Return the metadata of a wheel: name, version, licence, dependencies."""
    archive = zipfile.ZipFile(wheel)
    inner = next(
        name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
    )  # not the metadata of a vendored package
    return PathDistribution(zipfile.Path(archive, inner.removesuffix("METADATA")))


def cuda_of(wheels: Iterable[Path]) -> str | None:
    """Return the CUDA version of PyTorch's wheel ("13.0"); None for a CPU build or without PyTorch."""
    for wheel in wheels:
        if wheel.name.startswith("torch-"):
            for line in wheel_metadata(wheel).requires or ():
                if match := _CUDA.match(line):
                    return f"{match[1]}.{match[2]}"
    return None


def driver_for(cuda: str) -> str:
    """Return the oldest driver for this CUDA version. Raises BundleFailed for a version that is not in the table."""
    major = int(cuda.partition(".")[0])
    if major not in _DRIVERS:
        raise BundleFailed(f"PyTorch is built for CUDA {cuda}, for which the minimum driver is unknown.")
    return _DRIVERS[major]


def glibc_of(wheels: Iterable[Path]) -> str:
    """Return the oldest glibc for all these wheels, by their names (PEP 600); each wheel counts with its oldest tag."""
    required = _MIN_GLIBC
    for wheel in wheels:
        if versions := list(_versions(wheel)):
            required = max(required, min(versions))
    return f"{required[0]}.{required[1]}"


def _versions(wheel: Path) -> Iterator[tuple[int, int]]:
    for tag in parse_wheel_filename(wheel.name)[3]:
        if match := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
            yield int(match[1]), int(match[2])
        elif tag.platform.startswith("manylinux"):  # manylinux1, 2010, 2014
            yield _MIN_GLIBC
