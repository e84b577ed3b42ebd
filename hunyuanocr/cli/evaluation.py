"""`hunyuanocr eval DIR`: figures of a reader on a folder of pictures with truth, as a table or JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from hunyuanocr.cli.common import BackendOption, ModelPathOption, errors, progress, running_pipeline, settings_from
from hunyuanocr.config import Settings
from hunyuanocr.types import EvidenceMode

_COLUMNS = 4  # of the table by group: all fields together, then those that are printed most; more do not fit a terminal


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Pictures with .csv and .json truth beside them (docs/evaluation.md).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Read only the first N documents; 0 reads all.")] = 0,
    details: Annotated[Path | None, typer.Option(help="Write what was read beside the truth to this JSON Lines file.")] = None,
    evidence: Annotated[
        EvidenceMode, typer.Option(help="Whose lines are measured: fast: the CPU reader's; full: the model's.")
    ] = (EvidenceMode.FAST),
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Measure speed, detection, transcription, fields and evidence."""
    if details:
        _try_to_write(details)
    figures = asyncio.run(_evaluate(folder, limit, details, evidence, settings_from(backend, model_path)))
    if as_json:
        sys.stdout.write(json.dumps(figures, ensure_ascii=False, indent=2) + "\n")
    else:
        _print(figures)
    raise typer.Exit(int(bool(figures["failed"])))


def _try_to_write(path: Path) -> None:
    """Before an hour of reading, not after it."""
    try:
        path.open("a").close()
    except OSError as e:
        raise typer.BadParameter(f"{path} cannot be written: {e.strerror}", param_hint="--details") from e


async def _evaluate(folder: Path, limit: int, details: Path | None, evidence: EvidenceMode, settings: Settings) -> dict[str, Any]:
    from hunyuanocr.evaluate import evaluate as outcomes_of
    from hunyuanocr.evaluate import load_dataset, summarise

    samples = load_dataset(folder)[: limit or None]
    outcomes = []
    async with running_pipeline(settings) as pipeline:
        with progress() as bar:
            step = bar.add_task("evaluating", total=len(samples))
            async for outcome in outcomes_of(pipeline, samples, evidence):
                outcomes.append(outcome)
                bar.advance(step)
        figures = {"backend": pipeline.backend.name, "model": pipeline.backend.model, **summarise(outcomes)}
    if details:
        text = "".join(json.dumps(o.compared(), ensure_ascii=False) + "\n" for o in outcomes)
        await asyncio.to_thread(details.write_text, text, encoding="utf-8")
    return figures


def _print(figures: Mapping[str, Any]) -> None:
    out = Console(highlight=False, markup=False, emoji=False)
    seconds = figures["seconds"]
    out.print(
        f"{figures['documents']} documents by {figures['model']}: p50 {seconds['p50']:.2f} s, p95 {seconds['p95']:.2f} s, "
        f"peak memory {figures['peak_memory_mb']:.0f} MB"
    )
    for path, error in figures["failed"].items():
        errors.print(f"{path}: {error}", style="red")
    out.print(_totals(figures))
    out.print(_fields(figures))
    if figures["groups"]:
        out.print(_by_group(figures))


def _totals(figures: Mapping[str, Any]) -> Table:
    table = Table("measure", "value", title="Lines and evidence", title_justify="left")
    rows = {**(figures["lines"] or {}), **(figures["evidence"] or {})}
    if figures["items"]:
        rows["items_f1"] = figures["items"]["f1"]
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), _number(value))
    return table


def _fields(figures: Mapping[str, Any]) -> Table:
    table = Table("field", "precision", "recall", "F1", "printed", "null where absent", title="Fields", title_justify="left")
    for key, r in figures["fields"].items():
        absent = f"{_number(r['null_accuracy'])} of {r['absent']}" if r["absent"] else "—"
        table.add_row(key, _number(r["precision"]), _number(r["recall"]), _number(r["f1"]), str(r["printed"]), absent)
    return table


def _by_group(figures: Mapping[str, Any]) -> Table:
    fields = figures["fields"]
    keys = sorted(fields, key=lambda key: -fields[key]["printed"])[:_COLUMNS]
    table = Table(Column("group", no_wrap=True), "docs", "lines", *keys, title="F1 by group", title_justify="left")
    for name, group in figures["groups"].items():
        accuracy = (group["lines"] or {}).get("line_accuracy")
        f1 = [_number(group["fields"].get(key, {}).get("f1")) for key in keys]
        table.add_row(name, str(group["documents"]), _number(accuracy), *f1)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "—"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
