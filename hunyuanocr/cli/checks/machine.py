"""Checks of Python, packages, memory, GPU, driver and clock."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from hunyuanocr.bundle.requirements import extras, runtime_requirements
from hunyuanocr.bundle.sbom import installed_dependencies
from hunyuanocr.cli.checks.result import CheckResult, same_text
from hunyuanocr.config import Settings

ROOT = Path(__file__).parents[3]
_PYTHON = ("Python", "Python")
_PACKAGES = ("软件包", "Packages")
_MEMORY = ("内存", "Memory")
_CLOCK = ("时钟", "Clock")
_GPU = ("显卡", "GPU")


def check_python() -> CheckResult:
    """Report the Python version and the platform."""
    return CheckResult(
        "python", "ok", _PYTHON, same_text(f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    )


def installed_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages(root: Path = ROOT) -> CheckResult:
    """Check that the packages are installed in the versions that were tested together (constraints.txt in `root`)."""
    if not installed_version("rapidocr") or not (installed_version("openvino") or installed_version("onnxruntime")):
        return CheckResult("packages", "fail", _PACKAGES, ("没有安装 CPU 识别引擎", "CPU backend not installed."), _pip("-e ."))
    untested = list(_untested_versions(root))
    if not untested:
        return CheckResult("packages", "ok", _PACKAGES, ("版本都测试过", "All versions are tested."))
    listed = "; ".join(f"{name} {installed} ({tested})" for name, installed, tested in untested[:4])
    listed += f" … ({len(untested)})" if len(untested) > 4 else ""
    detail = (f"版本没有测试过（括号里是测试过的）：{listed}", f"Untested versions (tested version in brackets): {listed}")
    return CheckResult("packages", "warn", _PACKAGES, detail, _pip(*(f"{name}=={tested}" for name, _, tested in untested)))


def _pip(*packages: str) -> tuple[str, str]:
    """Return the command that installs these packages; from the wheels of the bundle if the installation came from one."""
    source = "--no-index --find-links wheels " if (ROOT / "wheels").is_dir() else ""
    command = f".venv/bin/pip install {source}-c constraints.txt {' '.join(packages)}"
    return f"请运行：{command}", f"Run: {command}"


def _untested_versions(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, installed version and tested version of each dependency that differs from constraints.txt.

    Packages that the appliance does not depend on are left out: pip does not change them. A new virtual environment of
    Python 3.11, for example, brings an old setuptools.
    """
    constraints, project = root / "constraints.txt", root / "pyproject.toml"
    if not constraints.is_file() or not project.is_file():
        return
    dependencies = installed_dependencies(runtime_requirements(root, extras(root)))
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, pinned, tested = (part.strip() for part in line.partition("=="))
        package = dependencies.get(canonicalize_name(name)) if pinned else None
        if package is not None and package.version.partition("+")[0] != tested.partition("+")[0]:
            yield name, package.version, tested


def check_memory() -> CheckResult:
    """Check the free memory."""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    detail = (f"空闲 {free:.1f} GB", f"{free:.1f} GB free")
    if free < 0.5:
        fix = (
            "请关闭其他程序：CPU 识别引擎约需 0.5 GB，网页另需 0.2 GB。",
            "Close other programs: the CPU backend needs about 0.5 GB, the web page 0.2 GB more.",
        )
        return CheckResult("memory", "fail", _MEMORY, detail, fix)
    if free < 1.5:
        fix = (
            "请设置 HUNYUANOCR_PPOCR__SMALL_MEMORY=true，并用 --no-page 启动。",
            "Set HUNYUANOCR_PPOCR__SMALL_MEMORY=true and start without the web page (--no-page).",
        )
        return CheckResult("memory", "warn", _MEMORY, detail, fix)
    return CheckResult("memory", "ok", _MEMORY, detail)


def check_gpu(settings: Settings) -> Iterator[CheckResult]:
    """Check for a GPU, its driver, its free memory, and PyTorch support. Torch is imported only if a GPU is present."""
    from hunyuanocr.services.metrics.gpu import gpus

    devices = gpus()
    if devices is None or not devices.all:
        none = ("没有找到 NVIDIA 显卡或驱动", "No NVIDIA GPU or driver found.")
        fix = ("不用处理：由 CPU 识别。", "No action needed: the CPU backend is used.")
        required = settings.backend in ("torch", "vllm") and settings.device != "cpu" and settings.vllm.url is None
        if required:
            fix = (
                "请安装 NVIDIA 驱动（nvidia-smi 要能运行），或改用 --backend ppocr。",
                "Install the NVIDIA driver (nvidia-smi must run), or use --backend ppocr.",
            )
        yield CheckResult("gpu", "warn" if required else "ok", _GPU, none, fix)
        return
    for gpu in devices.all:
        free = (gpu.memory - gpu.used) / 1e9
        detail = (
            f"{gpu.name}，驱动 {devices.driver}，显存空闲 {free:.1f} / {gpu.memory / 1e9:.1f} GB",
            f"{gpu.name}, driver {devices.driver}, {free:.1f} of {gpu.memory / 1e9:.1f} GB free",
        )
        if free < settings.torch.vram_gb:
            fix = (
                f"模型最多占用 {settings.torch.vram_gb:g} GB：请关闭占用显卡的程序，或调低 --vram-gb。",
                f"The model can use {settings.torch.vram_gb:g} GB: close other GPU programs, or lower --vram-gb.",
            )
            yield CheckResult("gpu", "warn", _GPU, detail, fix)
        else:
            yield CheckResult("gpu", "ok", _GPU, detail)
    yield _torch()


def _torch() -> CheckResult:
    what = ("PyTorch 与显卡", "PyTorch on the GPU")
    if not installed_version("torch"):
        fix = ("要用 HunyuanOCR 模型，请运行 ./launch_web_pt.sh。", "To use the HunyuanOCR model, run ./launch_web_pt.sh.")
        return CheckResult("torch", "warn", what, ("没有安装", "PyTorch is not installed."), fix)
    import torch

    if torch.cuda.is_available():
        return CheckResult("torch", "ok", what, same_text(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"))
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    detail = (f"PyTorch {torch.__version__}（{build}）用不了显卡", f"PyTorch {torch.__version__} ({build}) cannot use the GPU.")
    fix = (
        "请对照 nvidia-smi 显示的 CUDA 版本，更新驱动，或安装匹配的 PyTorch。",
        "Compare with the CUDA version in nvidia-smi: update the driver, or install a matching build of PyTorch.",
    )
    return CheckResult("torch", "warn", what, detail, fix)


def check_clock(now: datetime | None = None) -> CheckResult:
    """Check that the clock is not earlier than the installation, and that a time server keeps it if systemd can report this."""
    now = now or datetime.now(UTC)
    shown = now.astimezone().isoformat(timespec="seconds")
    fix = ("请校准系统时间：timedatectl set-ntp true，或用 date -s。", "Set the clock: timedatectl set-ntp true, or date -s.")
    installed = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if now < installed - timedelta(days=1) or now.year > 2100:
        detail = (
            f"{shown}，早于本程序的安装时间，或晚得离谱",
            f"{shown}: earlier than the installation of this program, or too far in the future.",
        )
        return CheckResult("clock", "fail", _CLOCK, detail, fix)
    if _synchronised() is False:
        detail = (f"{shown}，没有与时间服务器同步", f"{shown}, not synchronised with a time server.")
        return CheckResult("clock", "warn", _CLOCK, detail, fix)
    return CheckResult("clock", "ok", _CLOCK, same_text(shown))


def _synchronised() -> bool | None:
    """Return whether systemd reports a synchronised clock; None if systemd is not present."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 -- fixed arguments
            [program, "show", "--property=NTPSynchronized", "--value"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())
