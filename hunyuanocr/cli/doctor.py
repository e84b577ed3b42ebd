"""`hunyuanocr doctor`: check the machine; each result has a verdict and, if something is wrong, a fix."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hunyuanocr.cli.checks import machine, model, ports, secrets, storage
from hunyuanocr.cli.checks.result import CheckResult, Language, Verdict, terminal_language
from hunyuanocr.config import Settings, load_settings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_HEADS = {"zh": ("", "检查项", "结果", "处理方法"), "en": ("", "Check", "Result", "Fix")}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    language: Annotated[str | None, typer.Option("--language", help="zh or en.", show_default="locale of the terminal")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the test recognition; no model is loaded.")] = False,
) -> None:
    """Check this machine: each check has a verdict (ok, warn or fail) and a fix. Exit status 1 if a check fails."""
    if language not in (None, "zh", "en"):
        raise typer.BadParameter("must be zh or en", param_hint="--language")
    selected: Language = terminal_language() if language is None else "zh" if language == "zh" else "en"
    results = list(run_checks(load_settings(), quick=quick))
    worst = worst_status(results)
    if as_json:
        report = {"verdict": worst, "findings": [result.render(selected) for result in results]}
        sys.stdout.write(json.dumps(report, ensure_ascii=False, indent=2) + "\n")
    else:
        _show(results, selected)
    raise typer.Exit(int(worst == "fail"))


def run_checks(settings: Settings, *, quick: bool = False) -> Iterator[CheckResult]:
    """Yield the result of each check, fastest first; the last one recognises a test image with the configured backend."""
    yield machine.check_python()
    yield machine.check_packages()
    yield machine.check_clock()
    yield machine.check_memory()
    yield from storage.check_storage(settings)
    yield from secrets.check_secrets(settings)
    for flag, number in (("--port", settings.server.port), ("--api-port", settings.server.api_port)):
        yield ports.check_port(settings.server.host, number, flag)
    yield from machine.check_gpu(settings)
    yield model.check_weights(settings)
    if not quick:
        yield model.check_reading(settings)


def worst_status(results: Sequence[CheckResult]) -> Verdict:
    """Return the worst verdict of all results."""
    verdicts = {result.verdict for result in results}
    return "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "ok"


def _show(results: Sequence[CheckResult], language: Language) -> None:
    table = Table(*_HEADS[language])
    for result in results:
        text = result.render(language)
        table.add_row(Text(result.verdict, style=_COLOURS[result.verdict]), text["what"], text["detail"], text["fix"])
    Console(highlight=False, markup=False, emoji=False).print(table)
