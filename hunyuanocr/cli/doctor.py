"""`hunyuanocr doctor`: looks at the machine and says, for each thing, whether it will do and what would mend it."""

from __future__ import annotations

import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hunyuanocr.config import Settings, load_settings
from hunyuanocr.types import Result

Verdict = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str
    fix: str = ""


def doctor() -> None:
    """Check Python, packages, memory, disk, ports, GPU, weights, and read a drawn picture. Exit status 1 if something is bad."""
    findings = list(examine(load_settings()))
    table = Table("", "what", "found", "what to do")
    for f in findings:
        colour = {"ok": "green", "note": "yellow", "bad": "red"}[f.verdict]
        table.add_row(Text(f.verdict, style=colour), f.what, f.detail, f.fix)
    Console(highlight=False, markup=False, emoji=False).print(table)
    raise typer.Exit(int(any(f.verdict == "bad" for f in findings)))


def examine(settings: Settings) -> Iterator[Finding]:
    """All findings, cheapest first; the last reads a picture with the reader that would serve."""
    yield _python()
    yield _packages()
    yield _memory()
    yield _disk(Path.cwd())
    yield _gpu(settings)
    yield _weights(settings.model_path)
    for flag, port in (("--port", settings.server.port), ("--api-port", settings.server.api_port)):
        yield _port(settings.server.host, port, flag)
    yield _reading(settings)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> Finding:
    names = ("rapidocr", "openvino", "onnxruntime", "fastapi", "gradio", "torch", "transformers", "xgrammar")
    found = [f"{name} {version}" for name in names if (version := _version(name))]
    if not _version("rapidocr") or not (_version("openvino") or _version("onnxruntime")):
        return Finding("Packages", "bad", ", ".join(found), "Run ./launch_web_pt.sh once: it installs what is missing.")
    return Finding("Packages", "ok", ", ".join(found))


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> Finding:
    import psutil

    free = psutil.virtual_memory().available / 2**30
    detail = f"{free:.1f} GB free"
    if free < 0.5:
        return Finding("Memory", "bad", detail, "Close other programs; the CPU reader needs about 0.5 GB, the page 0.2 GB more.")
    if free < 1.5:
        return Finding("Memory", "note", detail, "Set HUNYUANOCR_PPOCR__SMALL_MEMORY=true and leave the page out (--no-page).")
    return Finding("Memory", "ok", detail)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 2**30
    if free < 1:
        return Finding("Disk", "bad", f"{free:.1f} GB free at {folder}", "Free some space; an installation takes about 1 GB.")
    return Finding("Disk", "ok", f"{free:.1f} GB free at {folder}")


def _gpu(settings: Settings) -> Finding:
    """Whether there is a GPU and whether PyTorch can use it; imports torch only where there is one."""
    from hunyuanocr.backends import has_gpu

    if not has_gpu():
        return Finding("GPU", "note", "none found", "Nothing to do: the CPU reader serves.")
    if not _version("torch"):
        fix = "For the HunyuanOCR model: ./launch_web_pt.sh installs it."
        return Finding("GPU", "note", "an NVIDIA driver is here, PyTorch is not installed", fix)
    import torch

    if not torch.cuda.is_available():
        build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPUs"
        fix = "Compare it with the driver's CUDA in nvidia-smi, and install a build of PyTorch that fits it."
        return Finding("GPU", "note", f"an NVIDIA driver is here, but PyTorch {torch.__version__} ({build}) cannot use it", fix)
    free, total = (n / 1e9 for n in torch.cuda.mem_get_info())
    detail = f"{torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GB free"
    wanted = settings.torch.vram_gb
    if free < wanted:
        return Finding("GPU", "note", detail, f"The model may take {wanted:g} GB: close what uses the GPU, or lower --vram-gb.")
    return Finding("GPU", "ok", detail)


def _weights(folder: Path) -> Finding:
    from hunyuanocr.weights import WeightsBroken, WeightsMissing, verify

    what = "HunyuanOCR weights"
    try:
        found = verify(folder)
    except WeightsMissing as e:
        return Finding(what, "note", e.message, f"Nothing to do: the CPU reader serves. For the model: {e.hint}")
    except WeightsBroken as e:
        return Finding(what, "bad", e.message, e.hint)
    size = f"{found.parameters / 1e6:,.0f} M parameters, {found.dtype}, {found.bytes / 1e9:.2f} GB"
    return Finding(what, "ok", f"{folder}: {size}{', with a draft model' if found.has_dflash else ''}")


def _port(host: str, port: int, flag: str) -> Finding:
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as e:
            return Finding(f"Port {port}", "bad", e.strerror or str(e), f"Stop what uses it, or choose another with {flag}.")
    return Finding(f"Port {port}", "ok", f"free on {host}")


def _reading(settings: Settings) -> Finding:
    import asyncio
    import io

    from PIL import Image, ImageDraw, ImageFont

    from hunyuanocr.cli.common import running_pipeline
    from hunyuanocr.errors import HunyuanOcrError
    from hunyuanocr.instructions import understand
    from hunyuanocr.pipeline import Request

    picture = Image.new("RGB", (480, 96), "white")
    ImageDraw.Draw(picture).text((24, 24), "TOTAL 36.80", fill="black", font=ImageFont.load_default(40))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")

    async def read() -> Result:
        async with running_pipeline(settings) as pipeline:
            return await pipeline.run(Request(data=buffer.getvalue(), task=understand()))

    try:
        result = asyncio.run(read())
    except HunyuanOcrError as e:
        return Finding("A reading", "bad", f"{e.code}: {e.message}", e.hint)
    reader = f"{result.backend} ({result.model})"
    if "36.80" not in result.text:
        again = "Install again: rm -r .venv" if result.backend == "ppocr" else "Get the weights again: hunyuanocr fetch --force"
        return Finding("A reading", "bad", f"{reader} read {result.text[:80]!r} where TOTAL 36.80 stands", again)
    return Finding("A reading", "ok", f"{reader} read a drawn line in {result.elapsed_ms:.0f} ms")
