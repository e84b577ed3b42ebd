"""The weights, their checksums where they are known, and a reading by the reader that would serve."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hunyuanocr.cli.checks.result import CheckResult, same_text
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.types import Result

_WEIGHTS = ("HunyuanOCR 权重", "HunyuanOCR weights")
_READING = ("试读一张图", "A reading")
SUMS = "SHA256SUMS"  # as `sha256sum` writes it
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def check_weights(settings: Settings) -> CheckResult:
    """There, whole, and as they were when their checksums were written down."""
    from hunyuanocr.weights import WeightsInvalid, WeightsMissing, verify

    must = settings.backend in ("torch", "vllm") and settings.vllm.url is None
    try:
        found = verify(settings.model_path)
        wrong = _changed(found.folder)
    except WeightsMissing as e:
        fix = ("获取：.venv/bin/hunyuanocr fetch", e.hint)
        if not must:
            fix = (f"无需处理：由 CPU 识别引擎服务。{fix[0]}", f"Nothing to do: the CPU reader serves. {e.hint}")
        return CheckResult("weights", "fail" if must else "ok", _WEIGHTS, same_text(e.message), fix)
    except WeightsInvalid as e:
        return CheckResult(
            "weights", "fail", _WEIGHTS, same_text(e.message), ("请重新获取：.venv/bin/hunyuanocr fetch --force", e.hint)
        )
    if wrong:
        names = ", ".join(wrong)
        detail = (f"校验和不符：{names}", f"their checksums do not fit: {names}")
        again = ".venv/bin/hunyuanocr fetch --force"
        return CheckResult("weights", "fail", _WEIGHTS, detail, (f"请重新获取：{again}", f"Get them again: {again}"))
    size = f"{settings.model_path}: {found.parameters / 1e6:,.0f} M, {found.dtype}, {found.bytes / 1e9:.2f} GB"
    return CheckResult("weights", "ok", _WEIGHTS, same_text(f"{size}{', dflash' if found.has_dflash else ''}"))


def _changed(folder: Path) -> list[str]:
    """Files that are not as the folder's list says; none where there is no list. Seconds for 2 GB."""
    sums = folder / SUMS
    if not sums.is_file():
        return []
    wrong = []
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None or ".." in Path(match[2]).parts or Path(match[2]).is_absolute():
            wrong.append(line.strip()[:80])
            continue
        file = folder / match[2]
        if not file.is_file() or _sum(file) != match[1]:
            wrong.append(match[2])
    return wrong


def _sum(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def check_reading(settings: Settings) -> CheckResult:
    """A drawn line is read with the reader that would serve."""
    import asyncio
    import io

    from PIL import Image, ImageDraw, ImageFont

    from hunyuanocr.cli.common import running_pipeline
    from hunyuanocr.instructions import parse_instruction
    from hunyuanocr.pipeline import Request
    from web.i18n import error_text

    picture = Image.new("RGB", (480, 96), "white")
    ImageDraw.Draw(picture).text((24, 24), "TOTAL 36.80", fill="black", font=ImageFont.load_default(40))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")

    async def read() -> Result:
        async with running_pipeline(settings) as pipeline:
            return await pipeline.run(Request(data=buffer.getvalue(), task=parse_instruction()))

    try:
        result = asyncio.run(read())
    except HunyuanOcrError as e:
        zh = error_text(e, "zh")
        return CheckResult("reading", "fail", _READING, (f"{e.code}: {zh[0]}", f"{e.code}: {e.message}"), (zh[1], e.hint))
    reader = f"{result.backend} ({result.model})"
    if "36.80" not in result.text:
        again = ".venv/bin/hunyuanocr fetch --force"
        fix = (f"请重新获取权重：{again}", f"Get the weights again: {again}")
        if result.backend == "ppocr":
            fix = ("请重新安装：删除 .venv 后再启动。", "Install again: rm -r .venv, and start.")
        detail = (f"{reader} 没有读对 TOTAL 36.80", f"{reader} did not read TOTAL 36.80 as it stands")
        return CheckResult("reading", "fail", _READING, detail, fix)
    ms = f"{result.elapsed_ms:.0f}"
    return CheckResult("reading", "ok", _READING, (f"{reader} 用 {ms} 毫秒读对一行字", f"{reader} read a drawn line in {ms} ms"))
