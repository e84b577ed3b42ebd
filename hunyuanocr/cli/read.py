"""`hunyuanocr read IMAGE… --instruction …`: answers on stdout, as text, JSON Lines or CSV."""

from __future__ import annotations

import asyncio
import csv
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

Answer = dict[str, Any]
Form = Literal["text", "json", "csv"]


def read(
    images: Annotated[list[Path], typer.Argument(help="Pictures or PDFs.")],
    instruction: Annotated[str, typer.Option("--instruction", "-i", help='What you want, e.g. "提取总金额".')] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the file's name in 'file'.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a file, one column a field.")] = False,
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Read pictures. One that fails leaves the rest done; the exit status is then 1."""
    from hunyuanocr.instructions import parse_instruction

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    form: Form = "json" if as_json else "csv" if as_csv else "text"
    failed = asyncio.run(_show_all(images, parse_instruction(instruction), settings_from(backend, model_path), form))
    raise typer.Exit(int(failed))


async def _show_all(images: Sequence[Path], task: Task, settings: Settings, form: Form) -> bool:
    """Show each answer as soon as it is there; only a table, whose columns come from all of them, waits. True if one failed."""
    rows: list[Answer] = []
    failed = False
    async with aclosing(_answers(images, task, settings)) as answers:
        async for answer in answers:
            failed |= "error" in answer
            if form == "json":
                sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
                sys.stdout.flush()
            elif form == "csv":
                rows.append({key: answer[key] for key in ("file", "fields", "text", "error") if key in answer})
            elif "error" not in answer:
                _show_text(answer, named=len(images) > 1)
    if form == "csv":
        _write_csv(rows)
    return failed


async def _answers(images: Sequence[Path], task: Task, settings: Settings) -> AsyncGenerator[Answer, None]:
    from api.schemas.ocr import OcrResponse
    from hunyuanocr.pipeline import Request

    async with running_pipeline(settings) as pipeline:
        with progress() as bar:
            for image in bar.track(images, description="reading"):
                try:
                    data = await asyncio.to_thread(image.read_bytes)
                    result = await pipeline.run(Request(data=data, task=task))
                    answer = {"file": str(image), **OcrResponse.of(result).model_dump(mode="json")}
                except (HunyuanOcrError, OSError) as e:
                    answer = {"file": str(image), **_failure(e)}
                    errors.print(f"{image}: {answer['error']}", style="red")
                yield answer


def _failure(e: HunyuanOcrError | OSError) -> Answer:
    if isinstance(e, HunyuanOcrError):
        return {"error": f"{e.message} {e.hint}".strip(), "code": e.code}
    return {"error": e.strerror or str(e), "code": "unreadable_file"}


def _write_csv(answers: Sequence[Answer]) -> None:
    """Columns: file, every field any answer has (or the text, when none was asked for), error."""
    from hunyuanocr.services.csv_safety import escape_cell

    keys = list(dict.fromkeys(key for answer in answers for key in answer.get("fields") or {}))
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", *map(escape_cell, keys or ["text"]), "error"])
    for answer in answers:
        fields = answer.get("fields") or {}
        values = [fields.get(key) for key in keys] if keys else [answer.get("text", "")]
        writer.writerow([escape_cell(value) for value in (answer["file"], *values, answer.get("error", ""))])


def _show_text(answer: Answer, *, named: bool) -> None:
    from hunyuanocr.services.csv_safety import to_text

    out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)  # a page's words are shown as they are
    if named:
        out.print(answer["file"], style="bold")
    if answer["fields"]:
        for key, value in answer["fields"].items():
            out.print(f"{key}: {to_text(value) or '—'}")
    else:
        out.print(answer["text"])
    for warning in answer["warnings"]:
        errors.print(warning["message"], style="yellow")
