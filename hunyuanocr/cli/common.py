"""Shared parts of the commands: settings from flags, a running pipeline, a progress bar on stderr."""

from __future__ import annotations

import runpy
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from hunyuanocr.config import Settings, load_settings

if TYPE_CHECKING:
    from hunyuanocr.pipeline import Pipeline

# Messages; stdout carries results only. Messages contain file names and text of images: no markup, no emoji codes, no wrapping.
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

_BACKENDS = "Backend: torch, vllm, ppocr, fake or auto."
BackendOption = Annotated[str | None, typer.Option("--backend", help=_BACKENDS, show_default="auto")]
ModelPathOption = Annotated[Path | None, typer.Option("--model-path", help="Folder of the HunyuanOCR weights.")]


def settings_from(backend: str | None, model_path: Path | None) -> Settings:
    """Return the settings for a one-off run: no result cache; flags that are not set leave environment and file in effect."""
    flags = {name: value for name, value in (("backend", backend), ("model_path", model_path)) if value is not None}
    return load_settings(**flags, pipeline={"cache_mb": 0})


@asynccontextmanager
async def running_pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    """Yield a started pipeline and close it afterwards. Print the active backend and the reason for the choice to stderr."""
    from hunyuanocr.backends import create_backend, create_evidence_backend
    from hunyuanocr.pipeline import Pipeline

    backend, reason = create_backend(settings)
    errors.print(reason, style="dim")
    pipeline = Pipeline(backend, settings, create_evidence_backend(settings, backend))
    try:
        await pipeline.start()
        yield pipeline
    finally:
        await pipeline.close()


def progress(*counters: ProgressColumn) -> Progress:
    """Return a progress bar on stderr; it is disabled if stderr is not a terminal. `counters`: columns in place of "3/7"."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *(counters or (MofNCompleteColumn(),)),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def run_program(module: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module of a higher layer as `python -m module arguments` does, in this process. Raise SystemExit with its status.

    In this process: signals and output stay those of the command, and the module is found where this package is.
    """
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    raise SystemExit(0)
