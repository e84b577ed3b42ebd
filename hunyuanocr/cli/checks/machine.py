"""Python, packages, memory, GPU and driver, the clock."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from hunyuanocr.cli.checks.result import CheckResult, same_text
from hunyuanocr.config import Settings

ROOT = Path(__file__).parents[3]
_PYTHON = ("Python", "Python")
_PACKAGES = ("软件包", "Packages")
_MEMORY = ("内存", "Memory")
_CLOCK = ("时钟", "Clock")
_GPU = ("显卡", "GPU")
_AGAIN = ("运行一次 ./launch_web_pt.sh，它会安装缺少的部分。", "Run ./launch_web_pt.sh once: it installs what is missing.")


def check_python() -> CheckResult:
    """Which one runs this."""
    return CheckResult(
        "python", "ok", _PYTHON, same_text(f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    )


def installed_version(name: str) -> str | None:
    """Of an installed package; None where it is not."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages(constraints: Path = ROOT / "constraints.txt") -> CheckResult:
    """Installed, and in the versions that were tested together."""
    if not installed_version("rapidocr") or not (installed_version("openvino") or installed_version("onnxruntime")):
        return CheckResult("packages", "fail", _PACKAGES, ("CPU 识别引擎没有安装", "the CPU reader is not installed"), _AGAIN)
    other = list(_others(constraints))
    if not other:
        return CheckResult("packages", "ok", _PACKAGES, ("版本与测试过的一致", "in the versions that were tested together"))
    some = "; ".join(other[:4]) + (f" … ({len(other)})" if len(other) > 4 else "")
    return CheckResult("packages", "warn", _PACKAGES, (f"与测试过的版本不同：{some}", f"not as tested: {some}"), _AGAIN)


def _others(constraints: Path) -> Iterator[str]:
    """Packages that are there in another version than the file says."""
    lines = constraints.read_text(encoding="utf-8").splitlines() if constraints.is_file() else []
    for line in lines:
        name, pinned, wanted = line.partition("==")
        found = installed_version(name.strip()) if pinned else None
        if found is not None and found.partition("+")[0] != wanted.strip().partition("+")[0]:
            yield f"{name.strip()} {found} ({wanted.strip()})"


def check_memory() -> CheckResult:
    """What is free."""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    detail = (f"空闲 {free:.1f} GB", f"{free:.1f} GB free")
    if free < 0.5:
        fix = (
            "请关闭其他程序；CPU 识别引擎约需 0.5 GB，网页另需 0.2 GB。",
            "Close other programs; the CPU reader needs about 0.5 GB, the page 0.2 GB more.",
        )
        return CheckResult("memory", "fail", _MEMORY, detail, fix)
    if free < 1.5:
        fix = (
            "请设置 HUNYUANOCR_PPOCR__SMALL_MEMORY=true，并用 --no-page 启动。",
            "Set HUNYUANOCR_PPOCR__SMALL_MEMORY=true and leave the page out (--no-page).",
        )
        return CheckResult("memory", "warn", _MEMORY, detail, fix)
    return CheckResult("memory", "ok", _MEMORY, detail)


def check_gpu(settings: Settings) -> Iterator[CheckResult]:
    """Whether there is one, its driver, and whether PyTorch can use it; imports torch only where there is a driver."""
    from hunyuanocr.services.metrics.gpu import gpus

    found = gpus()
    if found is None or not found.all:
        none = ("没有找到 NVIDIA 显卡或驱动", "no NVIDIA GPU or driver was found")
        fix = ("无需处理：由 CPU 识别引擎提供服务。", "Nothing to do: the CPU reader serves.")
        wanted = settings.backend in ("torch", "vllm") and settings.device != "cpu" and settings.vllm.url is None
        if wanted:
            fix = ("请安装 NVIDIA 驱动（nvidia-smi 应能运行），或改用 --backend ppocr。",
                   "Install NVIDIA's driver (nvidia-smi must run), or choose --backend ppocr.")  # fmt: skip
        yield CheckResult("gpu", "warn" if wanted else "ok", _GPU, none, fix)
        return
    for one in found.all:
        free = (one.memory - one.used) / 1e9
        detail = (f"{one.name}，驱动 {found.driver}，显存空闲 {free:.1f} / {one.memory / 1e9:.1f} GB",
                  f"{one.name}, driver {found.driver}, {free:.1f} of {one.memory / 1e9:.1f} GB free")  # fmt: skip
        if free < settings.torch.vram_gb:
            fix = (f"模型最多占用 {settings.torch.vram_gb:g} GB：请关闭占用显卡的程序，或调低 --vram-gb。",
                   f"The model may take {settings.torch.vram_gb:g} GB: close what uses the GPU, or lower --vram-gb.")  # fmt: skip
            yield CheckResult("gpu", "warn", _GPU, detail, fix)
        else:
            yield CheckResult("gpu", "ok", _GPU, detail)
    yield _torch()


def _torch() -> CheckResult:
    what = ("PyTorch 与显卡", "PyTorch on the GPU")
    if not installed_version("torch"):
        fix = ("要使用 HunyuanOCR 模型，请运行 ./launch_web_pt.sh。", "For the HunyuanOCR model: ./launch_web_pt.sh installs it.")
        return CheckResult("torch", "warn", what, ("没有安装", "is not installed"), fix)
    import torch

    if torch.cuda.is_available():
        return CheckResult("torch", "ok", what, same_text(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}"))
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    detail = (f"PyTorch {torch.__version__}（{build}）不能使用显卡", f"PyTorch {torch.__version__} ({build}) cannot use it")
    fix = (
        "请对照 nvidia-smi 显示的 CUDA 版本，更新驱动或安装相配的 PyTorch。",
        "Compare it with the driver's CUDA in nvidia-smi: update the driver, or install a build of PyTorch that fits it.",
    )
    return CheckResult("torch", "warn", what, detail, fix)


def check_clock(now: datetime | None = None) -> CheckResult:
    """Not before this program was installed, and kept right by a time server if the system can tell."""
    now = now or datetime.now(UTC)
    told = now.astimezone().isoformat(timespec="seconds")
    fix = ("请校准系统时间：timedatectl set-ntp true，或 date -s。", "Set the clock: timedatectl set-ntp true, or date -s.")
    installed = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    if now < installed - timedelta(days=1) or now.year > 2100:
        detail = (f"{told}，早于本程序的安装时间或太晚", f"{told}: before this program was installed, or far too late")
        return CheckResult("clock", "fail", _CLOCK, detail, fix)
    if _synchronised() is False:
        alone = (f"{told}，没有与时间服务器同步", f"{told}, not kept right by a time server")
        return CheckResult("clock", "warn", _CLOCK, alone, fix)
    return CheckResult("clock", "ok", _CLOCK, same_text(told))


def _synchronised() -> bool | None:
    """What systemd says; None where it is not there."""
    program = shutil.which("timedatectl")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 -- a program of the system, without anybody's words
            [program, "show", "--property=NTPSynchronized", "--value"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(done.stdout.strip())
