"""What several commands share: settings from flags, a running pipeline, a progress bar on stderr."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hunyuanocr.config import Settings, load_settings

if TYPE_CHECKING:
    from hunyuanocr.pipeline import Pipeline

# Messages; stdout carries answers only. What is said names files and words of pictures: no markup, no emoji codes, no wrapping.
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

BackendOption = Annotated[str | None, typer.Option("--backend", help="torch, vllm, ppocr or auto.", show_default="auto")]
ModelPathOption = Annotated[Path | None, typer.Option("--model-path", help="Folder of the HunyuanOCR weights.")]


def settings_from(backend: str | None, model_path: Path | None) -> Settings:
    """Settings of a one-off run: no result cache, and only the flags that were given, so that environment and file count."""
    given = {name: value for name, value in (("backend", backend), ("model_path", model_path)) if value is not None}
    return load_settings(**given, pipeline={"cache_mb": 0})


@asynccontextmanager
async def running_pipeline(settings: Settings) -> AsyncIterator[Pipeline]:
    """A started pipeline; says on stderr which reader serves and why."""
    from hunyuanocr.backends import create_backend, create_evidence_backend
    from hunyuanocr.pipeline import Pipeline

    backend, why = create_backend(settings)
    errors.print(why, style="dim")
    pipeline = Pipeline(backend, settings, create_evidence_backend(settings, backend))
    try:
        await pipeline.start()
        yield pipeline
    finally:
        await pipeline.close()


def progress() -> Progress:
    """A bar on stderr; silent where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=errors, transient=True, disable=not errors.is_terminal,
    )
