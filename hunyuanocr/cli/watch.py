"""`hunyuanocr watch DIR`: read new files in a folder, write the results, move the originals."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from hunyuanocr.cli.common import BackendOption, ModelPathOption, errors, running_pipeline, settings_from
from hunyuanocr.config import Settings, WatchSettings


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder to watch; done/ and failed/ are created in it.")],
    instruction: Annotated[str, typer.Option("--instruction", "-i", help='What to extract, e.g. "提取总金额".')] = "",
    results: Annotated[Path | None, typer.Option("--results", help="Folder for the results instead of done/.")] = None,
    table: Annotated[bool, typer.Option("--csv", help="Also write the fields of each file as CSV.")] = False,
    subfolders: Annotated[bool, typer.Option("--subfolders", help="Also watch subfolders.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Process the current files, then exit.")] = False,
    interval: Annotated[float, typer.Option("--interval", min=0.05, help="Seconds between two scans of the folder.")] = 2.0,
    backend: BackendOption = None,
    model_path: ModelPathOption = None,
) -> None:
    """Read each new file in a folder when it is complete; write the result as JSON; move the original to done/ or failed/.

    With --once the exit status is 1 if a file failed or a result could not be written.
    """
    watch_settings = WatchSettings(
        folder=folder, instruction=instruction, results=results, csv=table, subfolders=subfolders, interval_s=interval
    )
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    failed = asyncio.run(_watch(watch_settings, settings_from(backend, model_path), once=once))
    raise typer.Exit(int(failed))


async def _watch(watch_settings: WatchSettings, settings: Settings, *, once: bool) -> bool:
    """Watch until SIGINT or SIGTERM; a file that is being read then stays in the folder. True if something failed."""
    from hunyuanocr.result_schema import OcrResponse
    from hunyuanocr.services.background_reader import BackgroundReader
    from hunyuanocr.services.recorder import Recorder
    from hunyuanocr.services.watch import create_watcher
    from hunyuanocr.store.database import Database

    database = Database(settings.database_url) if settings.store.enabled else None
    try:
        async with running_pipeline(settings) as pipeline:
            watcher = create_watcher(
                watch_settings,
                settings,
                BackgroundReader(pipeline),
                lambda result: OcrResponse.of(result).model_dump(mode="json"),
                recorder=Recorder(database, settings),
                on_filed=_report,
            )
            errors.print(f"Watching {watch_settings.folder}.", style="dim")
            watching = asyncio.create_task(watcher.run(once=once))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, watching.cancel)
            await asyncio.wait((watching,))
            if not watching.cancelled():
                watching.result()
    finally:
        if database is not None:
            database.close()
    return once and bool(watcher.counts["failed"] or watcher.pending_errors)


def _report(path: Path, code: str | None) -> None:
    shown = str(path).encode("utf-8", "replace").decode()
    if code is None:
        errors.print(f"{shown}: done")
    else:
        errors.print(f"{shown}: failed ({code})", style="red")
