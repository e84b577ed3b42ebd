"""`hunyuanocr soak --hours 72`: mixed traffic against a server, and a report of what it did to it."""

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

_KEY = "HUNYUANOCR_KEY"


def soak(
    hours: Annotated[float, typer.Option(min=0, help="How long.")] = 0.0,
    minutes: Annotated[float, typer.Option(min=0, help="How long, added to the hours.")] = 0.0,
    url: Annotated[str | None, typer.Option(help="A server that runs; else one is started.", show_default="none")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("soak"),
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Tills, jobs, a camera and somebody at the records, all at once; writes report.json and pictures.

    Exit status 1 if something failed, memory or descriptors grew, or answers became slow. A running server's key, of the scopes
    read and submit, is taken from the environment variable HUNYUANOCR_KEY. The records of the run are deleted, no others.
    """
    from hunyuanocr.loadtest import run
    from hunyuanocr.loadtest.traffic import Target

    seconds = 3600 * hours + 60 * minutes
    if not seconds:
        raise typer.BadParameter("give --hours or --minutes")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ConfigError(f"The folder {out} cannot be made: {e.strerror}.", hint="Choose another with --out.") from e
    with _served(url, out, backend, model_path) as address:
        target: Target = Target(address.rstrip("/"), os.environ.get(_KEY) if url else None)
        tally, took = asyncio.run(run.run(target, seconds, lambda words: errors.print(words, style="dim")))
        made = run.write(tally, took, target, out)
    typer.echo(json.dumps({k: v for k, v in made.items() if k != "samples"}, ensure_ascii=False, indent=1))
    raise typer.Exit(int(not made["passed"]))


def _served(url: str | None, out: Path, backend: str | None, model_path: Path | None) -> AbstractContextManager[Any]:
    if url is not None:
        return nullcontext(url)
    from hunyuanocr.loadtest.server import server

    flags = [] if backend is None else ["--backend", backend]
    flags += [] if model_path is None else ["--model-path", str(model_path)]
    return server(flags, out / "server.log")
