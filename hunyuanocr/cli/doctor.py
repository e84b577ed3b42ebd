"""`hunyuanocr doctor`: looks at the machine and says, for each thing, whether it will do and what would mend it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hunyuanocr.cli.checks import machine, model, ports, storage
from hunyuanocr.cli.checks.result import CheckResult, Language, Verdict, terminal_language
from hunyuanocr.config import Settings, load_settings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
_HEADS = {"zh": ("", "项目", "结果", "怎么办"), "en": ("", "what", "found", "what to do")}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
    language: Annotated[str | None, typer.Option("--language", help="zh or en.", show_default="the terminal's")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Load no reader: all but the reading of a drawn line.")] = False,
) -> None:
    """Check this machine; each line has a verdict, ok, warn or fail, and a fix. Exit status 1 if something fails."""
    if language not in (None, "zh", "en"):
        raise typer.BadParameter("zh or en", param_hint="--language")
    spoken: Language = terminal_language() if language is None else "zh" if language == "zh" else "en"
    findings = list(run_checks(load_settings(), quick=quick))
    worst = worst_status(findings)
    if as_json:
        told = {"verdict": worst, "findings": [f.render(spoken) for f in findings]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    else:
        _show(findings, spoken)
    raise typer.Exit(int(worst == "fail"))


def run_checks(settings: Settings, *, quick: bool = False) -> Iterator[CheckResult]:
    """All findings, cheapest first; the last reads a picture with the reader that would serve."""
    yield machine.check_python()
    yield machine.check_packages()
    yield machine.check_clock()
    yield machine.check_memory()
    yield from storage.check_storage(settings)
    for flag, number in (("--port", settings.server.port), ("--api-port", settings.server.api_port)):
        yield ports.check_port(settings.server.host, number, flag)
    yield from machine.check_gpu(settings)
    yield model.check_weights(settings)
    if not quick:
        yield model.check_reading(settings)


def worst_status(findings: Sequence[CheckResult]) -> Verdict:
    """The worst of them."""
    seen = {f.verdict for f in findings}
    return "fail" if "fail" in seen else "warn" if "warn" in seen else "ok"


def _show(findings: Sequence[CheckResult], language: Language) -> None:
    table = Table(*_HEADS[language])
    for finding in findings:
        told = finding.render(language)
        table.add_row(Text(finding.verdict, style=_COLOURS[finding.verdict]), told["what"], told["detail"], told["fix"])
    Console(highlight=False, markup=False, emoji=False).print(table)
