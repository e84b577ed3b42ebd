"""`hunyuanocr finetune FOLDER`: train a checkpoint on your own documents and write one that every engine loads."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hunyuanocr.cli.common import ModelPathOption, errors, progress
from hunyuanocr.config import load_settings

if TYPE_CHECKING:
    from hunyuanocr.finetune.config import TrainConfig
    from hunyuanocr.finetune.run import EvalMetrics, FineTuneRun

EPOCHS = 3.0
RATES = {"lora": 2e-4, "full": 1e-5}


class Method(StrEnum):
    """Trained parameters: low-rank matrices added to the language model, or all weights including the vision encoder."""

    LORA = "lora"
    FULL = "full"


def finetune(
    folder: Annotated[Path, typer.Argument(help="Images with .csv and .json labels next to them, as for `eval`.")],
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint; an interrupted run is resumed from it.")],
    model_path: ModelPathOption = None,
    method: Annotated[Method, typer.Option(help="LoRA, or all weights (several times the memory).")] = Method.LORA,
    epochs: Annotated[
        float | None, typer.Option(min=0, help="Passes over the documents, total of all runs.", show_default=f"{EPOCHS:g}")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Alternative: training time, total of all runs.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Alternative: training steps, total of all runs.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Documents per step; all of the same size.")] = 1,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate.", show_default="2e-4 for LoRA, else 1e-5")] = None,
    hold_out: Annotated[float, typer.Option(min=0, max=0.9, help="Share of documents used only for evaluation.")] = 0.1,
    recipe: Annotated[Path | None, typer.Option(help="TOML file with advanced settings (docs/finetune.md).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed for order and held-out documents.", show_default="1")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or auto.", show_default="auto")] = None,
) -> None:
    """Train on your own documents. Ctrl-C saves and stops; the same command resumes."""
    flags = {"model_path": model_path, "device": device}
    settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
    if sum(value is not None for value in (epochs, minutes, steps)) > 1:
        raise typer.BadParameter("use only one of --epochs, --minutes and --steps")
    _require_torch()
    from hunyuanocr.finetune.run import FineTuneRun, RunConfig

    run_config = RunConfig(
        folder,
        settings.model_path,
        out,
        _recipe(recipe, batch=batch, rate=rate, seed=seed, method=method),
        method.value,
        hold_out,
        settings.device,
    )
    with progress() as bar:
        task = bar.add_task("loading documents", total=None)
        run = FineTuneRun(run_config, settings.images, lambda: bar.advance(task))
    if minutes is None and steps is None:
        steps = max(1, round((EPOCHS if epochs is None else epochs) * run.batches))
    _announce(run, steps, minutes)
    run.start(steps=steps, minutes=minutes)
    _train(run, steps, minutes)
    _finish(run)


def _require_torch() -> None:
    from importlib.util import find_spec

    from hunyuanocr.errors import MissingDependency

    if missing := [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]:
        raise MissingDependency(
            f"Packages for training are not installed: {', '.join(missing)}.",
            hint="Install them with .venv/bin/pip install -e '.[torch,finetune]' -c constraints.txt.",
        )


def _recipe(file: Path | None, *, batch: int, rate: float | None, seed: int | None, method: Method) -> TrainConfig:
    """Return the training settings: flags take precedence over the file, the file over the defaults of the method."""
    from dataclasses import replace

    from hunyuanocr.errors import InvalidValue
    from hunyuanocr.finetune.config import CurriculumStage, TrainConfig, load

    levels = (CurriculumStage("documents", batch),)
    recipe = TrainConfig(levels, rate=RATES[method.value], warmup=10, weight_decay=0.0, reading=0.0, review=0.0, recompute=True)
    if file is not None:
        recipe = load(file, recipe)
    if recipe.levels != levels:
        raise InvalidValue(f"{file} defines levels, which do not apply here.", hint="Remove them, and use --batch.")
    flags: dict[str, Any] = {"rate": rate, "seed": seed}
    return replace(recipe, **{name: value for name, value in flags.items() if value is not None})


def _announce(run: FineTuneRun, steps: int | None, minutes: float | None) -> None:
    """Print the plan and the required resources; warn if they exceed the available ones."""
    import shutil

    estimate, checkpoint = run.estimate(), run.checkpoint
    sizes = len({document.grid for document in run.documents})
    errors.print(
        f"{len(run.documents)} documents ({len(run.held)} held out; {sizes} image sizes); "
        f"{run.batches} steps per epoch, " + (f"{minutes:g} minutes" if steps is None else f"{steps} steps") + " in total."
    )
    errors.print(
        f"{checkpoint.name} on {run.device}: training {estimate.trained:,} of {checkpoint.parameters:,} parameters "
        f"({run.run_config.method}); about {estimate.memory / 1e9:.1f} GB of memory, {estimate.disk / 1e9:.1f} GB of disk."
    )
    if left_out := sum(document.items_left_out for document in run.documents):
        errors.print(f"Line items of {left_out} documents are not used: a row lacks columns (docs/finetune.md).", style="yellow")
    values = [value for document in run.documents for value in document.fields.values()]
    if values and None not in values:
        errors.print("No field is null: the model does not learn how to answer for fields that are not printed.", style="yellow")
    if estimate.memory > (free := _free_memory(run)):
        errors.print(
            f"Only {free / 1e9:.1f} GB of memory are free: use --batch 1, --method lora, or smaller images.", style="yellow"
        )
    out = run.run_config.out.resolve()
    existing = next(folder for folder in (out, *out.parents) if folder.exists())
    if estimate.disk > (free := shutil.disk_usage(existing).free):
        errors.print(f"Only {free / 1e9:.1f} GB of disk space are free.", style="yellow")


def _free_memory(run: FineTuneRun) -> int:
    """Return the free bytes on the device."""
    import psutil
    import torch

    return torch.cuda.mem_get_info(run.device)[0] if run.device.type == "cuda" else int(psutil.virtual_memory().available)


def _train(run: FineTuneRun, steps: int | None, minutes: float | None) -> None:
    """Train to the end; Ctrl-C stops after the current step and saves."""
    done = run.trainer.progress
    with _stopped_by_signals(run):
        if done.step:
            errors.print(f"Resuming after step {done.step}.")
        if run.before is not None:
            errors.print(f"Held out, before: {_describe(run.before)}.")
        if minutes is not None:
            run.trainer.run(minutes=max(0.0, minutes - done.seconds / 60), on_progress=_log)
        else:
            run.trainer.run(steps=max(0, (steps or 0) - done.step), on_progress=_log)
    if run.trainer.stopped.is_set():
        errors.print(f"Stopped after step {run.trainer.progress.step} and saved; the same command resumes.", style="yellow")
        raise typer.Exit(130)


def _log(line: str) -> None:
    """Print a line unless stderr is a terminal, which shows the progress bar."""
    if not errors.is_terminal:
        errors.print(line)


@contextmanager
def _stopped_by_signals(run: FineTuneRun) -> Iterator[None]:
    def stop(number: int, _: object) -> None:
        run.trainer.stopped.set()
        signal.signal(number, signal.default_int_handler)  # the second signal stops immediately

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(run: FineTuneRun) -> None:
    after = run.measure()
    if run.before is not None and after is not None:
        sys.stdout.write(f"held out, before: {_describe(run.before)}\nheld out, after:  {_describe(after)}\n")
        if after.loss >= run.before.loss:
            errors.print("No improvement on the held-out documents.", style="yellow")
    out = run.write()
    sys.stdout.write(f"{out}\n")
    errors.print(f"Evaluate it: hunyuanocr eval FOLDER --backend torch --model-path {out}", style="green")
    errors.print(f"{out / 'training'} is only needed to resume; it contains the loss plot.", style="dim")


def _describe(metrics: EvalMetrics) -> str:
    return f"loss {metrics.loss:.4f}, {metrics.exact_match:.1%} of answers exact ({metrics.documents} documents)"
