"""`hunyuanocr eval DIR`: measure a backend on a folder of labelled images; print a table or JSON."""

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

_MAX_COLUMNS = 4  # of the table by group: all fields together, then the most frequent ones; more do not fit a terminal


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Images with .csv and .json labels next to them (docs/evaluation.md).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Read only the first N documents; 0 reads all.")] = 0,
    details: Annotated[Path | None, typer.Option(help="Write results and labels of each file to this JSON Lines file.")] = None,
    evidence: Annotated[
        EvidenceMode, typer.Option(help="Lines to measure: fast: those of the CPU backend; full: those of the model.")
    ] = (EvidenceMode.FAST),
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Measure speed, text detection, transcription, field extraction and evidence."""
    if details:
        _check_writable(details)
    metrics = asyncio.run(_evaluate(folder, limit, details, evidence, settings_from(backend, model_path)))
    if as_json:
        sys.stdout.write(json.dumps(metrics, ensure_ascii=False, indent=2) + "\n")
    else:
        _print(metrics)
    raise typer.Exit(int(bool(metrics["failed"])))


def _check_writable(path: Path) -> None:
    """Raise BadParameter before a long run, not after it."""
    try:
        path.open("a").close()
    except OSError as e:
        raise typer.BadParameter(f"cannot write {path}: {e.strerror}", param_hint="--details") from e


async def _evaluate(folder: Path, limit: int, details: Path | None, evidence: EvidenceMode, settings: Settings) -> dict[str, Any]:
    from hunyuanocr.evaluate import evaluate as run_documents
    from hunyuanocr.evaluate import load_dataset, summarise

    samples = load_dataset(folder)[: limit or None]
    outcomes = []
    async with running_pipeline(settings) as pipeline:
        with progress() as bar:
            step = bar.add_task("evaluating", total=len(samples))
            async for outcome in run_documents(pipeline, samples, evidence):
                outcomes.append(outcome)
                bar.advance(step)
        metrics = {"backend": pipeline.backend.name, "model": pipeline.backend.model, **summarise(outcomes)}
    if details:
        text = "".join(json.dumps(o.compared(), ensure_ascii=False) + "\n" for o in outcomes)
        await asyncio.to_thread(details.write_text, text, encoding="utf-8")
    return metrics


def _print(metrics: Mapping[str, Any]) -> None:
    out = Console(highlight=False, markup=False, emoji=False)
    seconds = metrics["seconds"]
    out.print(
        f"{metrics['documents']} documents with {metrics['model']}: p50 {seconds['p50']:.2f} s, p95 {seconds['p95']:.2f} s, "
        f"peak memory {metrics['peak_memory_mb']:.0f} MB"
    )
    for path, error in metrics["failed"].items():
        errors.print(f"{path}: {error}", style="red")
    out.print(_totals(metrics))
    out.print(_fields(metrics))
    if metrics["calibration"]:
        out.print(_calibration(metrics["calibration"]))
    if metrics["groups"]:
        out.print(_by_group(metrics))


def _totals(metrics: Mapping[str, Any]) -> Table:
    table = Table("metric", "value", title="Lines and evidence", title_justify="left")
    rows = {**(metrics["lines"] or {}), **(metrics["evidence"] or {})}
    if metrics["items"]:
        rows["items_f1"] = metrics["items"]["f1"]
    for name, value in rows.items():
        table.add_row(name.replace("_", " "), _number(value))
    return table


def _fields(metrics: Mapping[str, Any]) -> Table:
    table = Table("field", "precision", "recall", "F1", "printed", "null if absent", title="Fields", title_justify="left")
    for key, r in metrics["fields"].items():
        absent = f"{_number(r['null_accuracy'])} of {r['absent']}" if r["absent"] else "—"
        table.add_row(key, _number(r["precision"]), _number(r["recall"]), _number(r["f1"]), str(r["printed"]), absent)
    return table


def _calibration(figures: Mapping[str, Any]) -> Table:
    """Return confidence against the share right, and the share of wrong answers among the least certain ones."""
    title = (
        f"Confidence: ECE {_number(figures['ece'])}, AUROC {_number(figures['auroc'])}; "
        f"{figures['doubted']:.0%} of {figures['keys']} keys doubted, {_number(figures['caught'])} of the wrong ones caught "
        f"(error {figures['error']:.0%})"
    )
    table = Table("confidence from", "keys", "mean confidence", "right", title=title, title_justify="left")
    for row in figures["bins"]:
        table.add_row(f"{row['from']:.1f}", str(row["keys"]), _number(row["confidence"]), _number(row["right"]))
    for row in figures["trade_off"]:
        table.add_row(f"least certain {row['checked']:.0%}", "", "wrong caught", _number(row["caught"]))
    return table


def _by_group(metrics: Mapping[str, Any]) -> Table:
    fields = metrics["fields"]
    keys = sorted(fields, key=lambda key: -fields[key]["printed"])[:_MAX_COLUMNS]
    table = Table(Column("group", no_wrap=True), "docs", "lines", *keys, title="F1 by group", title_justify="left")
    for name, group in metrics["groups"].items():
        accuracy = (group["lines"] or {}).get("line_accuracy")
        f1 = [_number(group["fields"].get(key, {}).get("f1")) for key in keys]
        table.add_row(name, str(group["documents"]), _number(accuracy), *f1)
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "—"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
