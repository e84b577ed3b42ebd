"""Checks of the weights, their checksums, and a test recognition with the configured backend."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hunyuanocr.cli.checks.result import CheckResult, same_text
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.types import Result

_WEIGHTS = ("HunyuanOCR 权重", "HunyuanOCR weights")
_READING = ("试读一张图", "Test recognition")
SUMS = "SHA256SUMS"  # format of `sha256sum`
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def check_weights(settings: Settings) -> CheckResult:
    """Check that the weights are present and complete, and match their checksums if the folder has a list of them."""
    from hunyuanocr.weights import WeightsInvalid, WeightsMissing, verify

    required = settings.backend in ("torch", "vllm") and settings.vllm.url is None
    try:
        weights = verify(settings.model_path)
        changed = _changed(weights.folder)
    except WeightsMissing as e:
        fix = ("请下载：.venv/bin/hunyuanocr fetch", e.hint)
        if not required:
            fix = (f"不用处理：由 CPU 识别。{fix[0]}", f"No action needed: the CPU backend is used. {e.hint}")
        return CheckResult("weights", "fail" if required else "ok", _WEIGHTS, same_text(e.message), fix)
    except WeightsInvalid as e:
        return CheckResult(
            "weights", "fail", _WEIGHTS, same_text(e.message), ("请重新下载：.venv/bin/hunyuanocr fetch --force", e.hint)
        )
    if changed:
        names = ", ".join(changed)
        detail = (f"校验和不符：{names}", f"Wrong checksums: {names}.")
        command = ".venv/bin/hunyuanocr fetch --force"
        return CheckResult("weights", "fail", _WEIGHTS, detail, (f"请重新下载：{command}", f"Download them again: {command}"))
    size = f"{settings.model_path}: {weights.parameters / 1e6:,.0f} M, {weights.dtype}, {weights.bytes / 1e9:.2f} GB"
    return CheckResult("weights", "ok", _WEIGHTS, same_text(f"{size}{', dflash' if weights.has_dflash else ''}"))


def _changed(folder: Path) -> list[str]:
    """Return the files that do not match the folder's checksum list; empty without a list. Takes seconds for 2 GB."""
    sums = folder / SUMS
    if not sums.is_file():
        return []
    changed = []
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None or ".." in Path(match[2]).parts or Path(match[2]).is_absolute():
            changed.append(line.strip()[:80])
            continue
        file = folder / match[2]
        if not file.is_file() or _sum(file) != match[1]:
            changed.append(match[2])
    return changed


def _sum(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def check_reading(settings: Settings) -> CheckResult:
    """Recognise a generated line of text with the configured backend."""
    import asyncio

    from hunyuanocr.cli.common import running_pipeline
    from hunyuanocr.error_texts import error_text
    from hunyuanocr.instructions import parse_instruction
    from hunyuanocr.loadtest.receipts import draw_text
    from hunyuanocr.pipeline import Request

    async def read() -> Result:
        async with running_pipeline(settings) as pipeline:
            return await pipeline.run(Request(data=draw_text(["TOTAL 36.80"]), task=parse_instruction()))

    try:
        result = asyncio.run(read())
    except HunyuanOcrError as e:
        zh = error_text(e, "zh")
        return CheckResult("reading", "fail", _READING, (f"{e.code}: {zh[0]}", f"{e.code}: {e.message}"), (zh[1], e.hint))
    backend = f"{result.backend} ({result.model})"
    if "36.80" not in result.text:
        command = ".venv/bin/hunyuanocr fetch --force"
        fix = (f"请重新下载权重：{command}", f"Download the weights again: {command}")
        if result.backend == "ppocr":
            fix = ("请重新安装：删除 .venv，再启动一次。", "Reinstall: delete .venv and start again.")
        detail = (f"{backend} 没有读对 TOTAL 36.80", f"{backend} did not read TOTAL 36.80 correctly.")
        return CheckResult("reading", "fail", _READING, detail, fix)
    ms = f"{result.elapsed_ms:.0f}"
    detail = (f"{backend} 用 {ms} 毫秒读对一行字", f"{backend} read a test line in {ms} ms.")
    return CheckResult("reading", "ok", _READING, detail)
