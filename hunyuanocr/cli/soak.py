"""`hunyuanocr soak --hours 72`: a load test with mixed traffic, and a report."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hunyuanocr.cli.common import BackendOption, ModelPathOption, errors
from hunyuanocr.errors import ConfigError

if TYPE_CHECKING:
    from hunyuanocr.loadtest.traffic import Target

_KEY_VARIABLE = "HUNYUANOCR_KEY"


def soak(
    hours: Annotated[float, typer.Option(min=0, help="Duration in hours.")] = 0.0,
    minutes: Annotated[float, typer.Option(min=0, help="Duration in minutes, added to --hours.")] = 0.0,
    url: Annotated[str | None, typer.Option(help="URL of a running server.", show_default="starts a server")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("soak"),
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Run a load test with OCR requests, jobs, camera frames and record queries at the same time; write report.json and plots.

    Exit status 1 if a request failed, memory or file descriptors grew, or responses slowed down. The API key of a running server
    (scopes read and submit) is read from the environment variable HUNYUANOCR_KEY. Only records of this run are deleted.
    """
    from hunyuanocr.loadtest import run
    from hunyuanocr.loadtest.traffic import Target

    seconds = 3600 * hours + 60 * minutes
    if not seconds:
        raise typer.BadParameter("use --hours or --minutes")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"Cannot create the folder {out}: {e.strerror}.", hint="Choose another one with --out.") from e
    with _server(url, out, backend, model_path) as address:
        target: Target = Target(address.rstrip("/"), os.environ.get(_KEY_VARIABLE) if url else None)
        stats, elapsed = asyncio.run(run.run(target, seconds, lambda text: errors.print(text, style="dim")))
        report = run.write(stats, elapsed, target, out)
    typer.echo(json.dumps({k: v for k, v in report.items() if k != "samples"}, ensure_ascii=False, indent=1))
    raise typer.Exit(int(not report["passed"]))


def _server(url: str | None, out: Path, backend: str | None, model_path: Path | None) -> AbstractContextManager[Any]:
    if url is not None:
        return nullcontext(url)
    from hunyuanocr.loadtest.server import server

    flags = [] if backend is None else ["--backend", backend]
    flags += [] if model_path is None else ["--model-path", str(model_path)]
    return server(flags, out / "server.log")
