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
from hunyuanocr.cli.checks.finding import Finding, Language, Verdict, of_environment
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
    spoken: Language = of_environment() if language is None else "zh" if language == "zh" else "en"
    findings = list(examine(load_settings(), quick=quick))
    worst = verdict(findings)
    if as_json:
        told = {"verdict": worst, "findings": [f.told(spoken) for f in findings]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False, indent=2) + "\n")
    else:
        _show(findings, spoken)
    raise typer.Exit(int(worst == "fail"))


def examine(settings: Settings, *, quick: bool = False) -> Iterator[Finding]:
    """All findings, cheapest first; the last reads a picture with the reader that would serve."""
    yield machine.python()
    yield machine.packages()
    yield machine.clock()
    yield machine.memory()
    yield from storage.storage(settings)
    for flag, number in (("--port", settings.server.port), ("--api-port", settings.server.api_port)):
        yield ports.port(settings.server.host, number, flag)
    yield from machine.gpu(settings)
    yield model.weights(settings)
    if not quick:
        yield model.reading(settings)


def verdict(findings: Sequence[Finding]) -> Verdict:
    """The worst of them."""
    seen = {f.verdict for f in findings}
    return "fail" if "fail" in seen else "warn" if "warn" in seen else "ok"


def _show(findings: Sequence[Finding], language: Language) -> None:
    table = Table(*_HEADS[language])
    for finding in findings:
        told = finding.told(language)
        table.add_row(Text(finding.verdict, style=_COLOURS[finding.verdict]), told["what"], told["detail"], told["fix"])
    Console(highlight=False, markup=False, emoji=False).print(table)
