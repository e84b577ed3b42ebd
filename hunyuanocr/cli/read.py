"""`hunyuanocr read IMAGE… --instruction …`: answers on stdout, as text, JSON Lines or CSV."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from hunyuanocr.cli.common import BackendOption, ModelPathOption, errors, progress, running_pipeline, settings_from
from hunyuanocr.config import Settings
from hunyuanocr.errors import HunyuanOcrError

if TYPE_CHECKING:
    from hunyuanocr.types import Task

Answer = dict[str, Any]


def read(
    images: Annotated[list[Path], typer.Argument(help="Pictures or PDFs.")],
    instruction: Annotated[str, typer.Option("--instruction", "-i", help='What you want, e.g. "提取总金额".')] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the file's name in 'file'.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a file, one column a field.")] = False,
    backend: BackendOption = "auto",
    model_path: ModelPathOption = None,
) -> None:
    """Read pictures. One that fails leaves the rest done; the exit status is then 1."""
    from hunyuanocr.instructions import understand

    if as_json and as_csv:
        raise typer.BadParameter("choose --json or --csv")
    task = understand(instruction)
    answers = asyncio.run(_read_all(images, task, settings_from(backend, model_path)))
    if as_json:
        for answer in answers:
            sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    elif as_csv:
        _write_csv(answers)
    else:
        _write_text(answers)
    raise typer.Exit(int(any("error" in answer for answer in answers)))


async def _read_all(images: Sequence[Path], task: Task, settings: Settings) -> list[Answer]:
    from api.schemas import OcrAnswer

    from hunyuanocr.pipeline import Request

    answers: list[Answer] = []
    async with running_pipeline(settings) as pipeline:
        with progress() as bar:
            for image in bar.track(images, description="reading"):
                try:
                    data = await asyncio.to_thread(image.read_bytes)
                    result = await pipeline.run(Request(data=data, task=task))
                    answers.append({"file": str(image), **OcrAnswer.of(result).model_dump(mode="json")})
                except (HunyuanOcrError, OSError) as e:
                    answers.append({"file": str(image), **_failure(e)})
                    errors.print(f"[red]{image}[/red]: {answers[-1]['error']}", highlight=False)
    return answers


def _failure(e: HunyuanOcrError | OSError) -> Answer:
    if isinstance(e, HunyuanOcrError):
        return {"error": f"{e.message} {e.hint}".strip(), "code": e.code}
    return {"error": e.strerror or str(e), "code": "unreadable_file"}


def _write_csv(answers: Sequence[Answer]) -> None:
    """Columns: file, every field any answer has (or the text, when none was asked for), error."""
    keys = list(dict.fromkeys(key for answer in answers for key in answer.get("fields") or {}))
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", *(keys or ["text"]), "error"])
    for answer in answers:
        fields = answer.get("fields") or {}
        cells = [_cell(fields.get(key)) for key in keys] if keys else [answer.get("text", "")]
        writer.writerow([answer["file"], *cells, answer.get("error", "")])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_text(answers: Sequence[Answer]) -> None:
    out = Console(highlight=False, soft_wrap=True)
    for answer in answers:
        if "error" in answer:
            continue  # already said on stderr
        if len(answers) > 1:
            out.print(f"[bold]{answer['file']}[/bold]")
        if answer["fields"]:
            for key, value in answer["fields"].items():
                out.print(f"{key}: {_cell(value) or '—'}", markup=False)
        else:
            out.print(answer["text"], markup=False)
        for warning in answer["warnings"]:
            errors.print(f"[yellow]{warning['message']}[/yellow]", highlight=False)
