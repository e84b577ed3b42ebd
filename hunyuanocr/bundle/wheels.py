"""The wheels of a bundle: brought by pip as pip's own settings say, and read for what they tell about themselves."""

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

# The oldest NVIDIA driver (Linux) for each generation of CUDA, by the minor version compatibility that NVIDIA promises:
# https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/ (table "CUDA Toolkit and Minimum Required Driver Version").
_DRIVERS = {11: "450", 12: "525", 13: "580"}
_CUDA = re.compile(r"^(?:cuda-toolkit|nvidia-cuda-runtime(?:-cu\d+)?)\b[^=]*==\s*(\d+)\.(\d+)")
_MIN_GLIBC = (2, 17)


def download_wheels(root: Path, extras: Sequence[str], folder: Path) -> list[Path]:
    """Download the pinned wheels of the project and its extras into `folder`; sorted. Raises BundleFailed in pip's words."""
    wanted = folder / "requirements.txt"
    try:
        wanted.write_text("\n".join(requirements(root, extras)) + "\n", encoding="utf-8")
    except KeyError as e:
        raise BundleFailed(f"pyproject.toml knows no extra {e}.", hint="Its [project.optional-dependencies] lists them.") from e
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet", "--only-binary", ":all:",
        "--dest", str(folder), "-c", str(root / "constraints.txt"), "-r", str(wanted),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own files
    wanted.unlink()
    if done.returncode:
        said = " ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[-500:]
        raise BundleFailed(f"pip could not bring the packages: {said or f'it ended with status {done.returncode}'}")
    return sorted(folder.glob("*.whl"))


def wheel_metadata(wheel: Path) -> Distribution:
    """What a wheel says of itself: name, version, licence, what it asks for."""
    archive = zipfile.ZipFile(wheel)
    inner = next(
        name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)
    )  # not one that it carries
    return PathDistribution(zipfile.Path(archive, inner.removesuffix("METADATA")))


def cuda_of(wheels: Iterable[Path]) -> str | None:
    """The CUDA that PyTorch's wheel was built for ("13.0"), or None: a build for CPUs, or no PyTorch."""
    for wheel in wheels:
        if wheel.name.startswith("torch-"):
            for line in wheel_metadata(wheel).requires or ():
                if found := _CUDA.match(line):
                    return f"{found[1]}.{found[2]}"
    return None


def driver_for(cuda: str) -> str:
    """The oldest driver that runs programs of this CUDA. Raises BundleFailed for one that nobody has looked up yet."""
    generation = int(cuda.partition(".")[0])
    if generation not in _DRIVERS:
        raise BundleFailed(f"PyTorch is built for CUDA {cuda}, and which driver that wants is not known to this program.")
    return _DRIVERS[generation]


def glibc_of(wheels: Iterable[Path]) -> str:
    """The oldest glibc on which all these wheels install, by their names (PEP 600); each wheel counts with its oldest tag."""
    least = _MIN_GLIBC
    for wheel in wheels:
        if versions := list(_versions(wheel)):
            least = max(least, min(versions))
    return f"{least[0]}.{least[1]}"


def _versions(wheel: Path) -> Iterator[tuple[int, int]]:
    for tag in parse_wheel_filename(wheel.name)[3]:
        if found := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
            yield int(found[1]), int(found[2])
        elif tag.platform.startswith("manylinux"):  # manylinux1, 2010, 2014
            yield _MIN_GLIBC
