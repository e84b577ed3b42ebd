"""`hunyuanocr read IMAGE… --instruction …`: print results on stdout as text, JSON Lines or CSV."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from hunyuanocr.cli.common import BackendOption, ModelPathOption, errors, progress, running_pipeline, settings_from
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError

if TYPE_CHECKING:
    from hunyuanocr.types import Task

Result = dict[str, Any]
OutputFormat = Literal["text", "json", "csv"]


def read(
    images: Annotated[list[Path], typer.Argument(help="Images or PDFs.")],
    instruction: Annotated[str, typer.Option("--instruction", "-i", help='What to extract, e.g. "提取总金额".')] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file; 'file' holds its name.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one row per file, one column per field.")] = False,
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Read images and PDFs. A file that fails does not stop the others; the exit status is then 1."""
    from hunyuanocr.instructions import parse_instruction

    if as_json and as_csv:
        raise typer.BadParameter("use either --json or --csv")
    form: OutputFormat = "json" if as_json else "csv" if as_csv else "text"
    failed = asyncio.run(_show_all(images, parse_instruction(instruction), settings_from(backend, model_path), form))
    raise typer.Exit(int(failed))


async def _show_all(images: Sequence[Path], task: Task, settings: Settings, form: OutputFormat) -> bool:
    """Print each result as it arrives; CSV is printed last because its columns depend on all results. True if a file failed."""
    rows: list[Result] = []
    failed = False
    async with aclosing(_results(images, task, settings)) as results:
        async for result in results:
            failed |= "error" in result
            if form == "json":
                sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            elif form == "csv":
                rows.append({key: result[key] for key in ("file", "fields", "text", "error") if key in result})
            elif "error" not in result:
                _show_text(result, show_name=len(images) > 1)
    if form == "csv":
        _write_csv(rows)
    return failed


async def _results(images: Sequence[Path], task: Task, settings: Settings) -> AsyncGenerator[Result, None]:
    from hunyuanocr.pipeline import Request
    from hunyuanocr.result_schema import OcrResponse

    async with running_pipeline(settings) as pipeline:
        with progress() as bar:
            for image in bar.track(images, description="reading"):
                try:
                    data = await asyncio.to_thread(image.read_bytes)
                    response = OcrResponse.of(await pipeline.run(Request(data=data, task=task)))
                    result = {"file": str(image), **response.model_dump(mode="json")}
                except (HunyuanOcrError, OSError) as e:
                    result = {"file": str(image), **_failure(e)}
                    errors.print(f"{image}: {result['error']}", style="red")
                yield result


def _failure(e: HunyuanOcrError | OSError) -> Result:
    if isinstance(e, HunyuanOcrError):
        return {"error": f"{e.message} {e.hint}".strip(), "code": e.code}
    return {"error": e.strerror or str(e), "code": "unreadable_file"}


def _write_csv(results: Sequence[Result]) -> None:
    """Write the columns file, every field of any result (or the text if no field was requested), error."""
    from hunyuanocr.services.csv_safety import csv_row

    keys = list(dict.fromkeys(key for result in results for key in result.get("fields") or {}))
    sys.stdout.write(csv_row(["file", *(keys or ["text"]), "error"]))
    for result in results:
        fields = result.get("fields") or {}
        values = [fields.get(key) for key in keys] if keys else [result.get("text", "")]
        sys.stdout.write(csv_row([result["file"], *values, result.get("error", "")]))


def _show_text(result: Result, *, show_name: bool) -> None:
    from hunyuanocr.services.csv_safety import to_text

    out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)  # text of an image is printed unchanged
    if show_name:
        out.print(result["file"], style="bold")
    if result["fields"]:
        for key, value in result["fields"].items():
            out.print(f"{key}: {to_text(value) or '—'}")
    else:
        out.print(result["text"])
    for warning in result["warnings"]:
        errors.print(warning["message"], style="yellow")
