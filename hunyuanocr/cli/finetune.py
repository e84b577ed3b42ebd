"""`hunyuanocr finetune FOLDER`: teaches a checkpoint one's own documents, and writes one that every engine loads."""

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
    """What is trained: small matrices beside the language model's, or every weight, the vision tower's too."""

    LORA = "lora"
    FULL = "full"


def finetune(
    folder: Annotated[Path, typer.Argument(help="Pictures with .csv and .json truth beside them, as `eval` reads them.")],
    out: Annotated[Path, typer.Option(help="New folder for the checkpoint; a run that was stopped goes on there.")],
    model_path: ModelPathOption = None,
    method: Annotated[Method, typer.Option(help="LoRA, or all weights (several times the memory).")] = Method.LORA,
    epochs: Annotated[
        float | None, typer.Option(min=0, help="How often each document is seen, in all calls.", show_default=f"{EPOCHS:g}")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Or: time of training, in all calls.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Or: steps of training, in all calls.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Documents a step, of one size each time.")] = 1,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate.", show_default="2e-4 with LoRA, else 1e-5")] = None,
    hold_out: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the documents kept for measuring only.")] = 0.1,
    recipe: Annotated[Path | None, typer.Option(help="TOML file of rarer settings (docs/finetune.md).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the order and of what is held out.", show_default="1")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or auto.", show_default="auto")] = None,
) -> None:
    """Train on your own documents. Stopped with Ctrl-C it saves; the same command goes on."""
    given = {"model_path": model_path, "device": device}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    if sum(value is not None for value in (epochs, minutes, steps)) > 1:
        raise typer.BadParameter("Give one of --epochs, --minutes and --steps.")
    _need_torch()
    from hunyuanocr.finetune.run import FineTuneRun, RunConfig

    job = RunConfig(
        folder, settings.model_path, out, _recipe(recipe, batch=batch, rate=rate, seed=seed, method=method), method.value,
        hold_out, settings.device,
    )  # fmt: skip
    with progress() as bar:
        task = bar.add_task("looking through the documents", total=None)
        tuning = FineTuneRun(job, settings.images, lambda: bar.advance(task))
    if minutes is None and steps is None:
        steps = max(1, round((EPOCHS if epochs is None else epochs) * tuning.batches))
    _announce(tuning, steps, minutes)
    tuning.start(steps=steps, minutes=minutes)
    _train(tuning, steps, minutes)
    _finish(tuning)


def _need_torch() -> None:
    from importlib.util import find_spec

    from hunyuanocr.errors import MissingDependency

    if missing := [name for name in ("torch", "transformers", "safetensors") if find_spec(name) is None]:
        raise MissingDependency(
            f"Training needs what is not installed: {', '.join(missing)}.",
            hint="Install it with .venv/bin/pip install -e '.[torch,finetune]' -c constraints.txt.",
        )


def _recipe(file: Path | None, *, batch: int, rate: float | None, seed: int | None, method: Method) -> TrainConfig:
    """Flags win over the file, the file over what fits the method."""
    from dataclasses import replace

    from hunyuanocr.errors import InvalidValue
    from hunyuanocr.finetune.config import CurriculumStage, TrainConfig, load

    levels = (CurriculumStage("documents", batch),)
    recipe = TrainConfig(levels, rate=RATES[method.value], warmup=10, weight_decay=0.0, reading=0.0, review=0.0, recompute=True)
    if file is not None:
        recipe = load(file, recipe)
    if recipe.levels != levels:
        raise InvalidValue(f"{file} has levels, which one folder does not.", hint="Leave them out, and give --batch.")
    flags: dict[str, Any] = {"rate": rate, "seed": seed}
    return replace(recipe, **{name: value for name, value in flags.items() if value is not None})


def _announce(tuning: FineTuneRun, steps: int | None, minutes: float | None) -> None:
    """What will be done and what it will take; a warning where that is more than there is."""
    import shutil

    needs, found = tuning.estimate(), tuning.checkpoint
    sizes = len({document.grid for document in tuning.documents})
    errors.print(
        f"{len(tuning.documents)} documents ({len(tuning.held)} held out; sizes of pictures: {sizes}); "
        f"{tuning.batches} steps an epoch, " + (f"{minutes:g} minutes" if steps is None else f"{steps} steps") + " in all."
    )  # fmt: skip
    errors.print(
        f"{found.name} on {tuning.device}: {needs.trained:,} of {found.parameters:,} parameters are trained "
        f"({tuning.run_config.method}); about {needs.memory / 1e9:.1f} GB of memory, {needs.disk / 1e9:.1f} GB of disk."
    )
    if left_out := sum(document.items_left_out for document in tuning.documents):
        errors.print(
            f"Line items of {left_out} documents are not taught: a row lacks columns (docs/finetune.md).", style="yellow"
        )
    values = [value for document in tuning.documents for value in document.fields.values()]
    if values and None not in values:
        errors.print("No field is null: what the model answers for a field that is not printed is not taught.", style="yellow")
    if needs.memory > (there := _memory(tuning)):
        errors.print(
            f"Only {there / 1e9:.1f} GB of memory are free: try --batch 1, --method lora, smaller pictures.", style="yellow"
        )
    place = next(
        folder for folder in (tuning.run_config.out.resolve(), *tuning.run_config.out.resolve().parents) if folder.exists()
    )
    if needs.disk > (there := shutil.disk_usage(place).free):
        errors.print(f"Only {there / 1e9:.1f} GB of disk are free.", style="yellow")


def _memory(tuning: FineTuneRun) -> int:
    """Bytes that are free on the device."""
    import psutil
    import torch

    return torch.cuda.mem_get_info(tuning.device)[0] if tuning.device.type == "cuda" else int(psutil.virtual_memory().available)


def _train(tuning: FineTuneRun, steps: int | None, minutes: float | None) -> None:
    """Until it is done; Ctrl-C ends it after the step that is under way, and saves."""
    done = tuning.trainer.progress
    with _stopped_by_signals(tuning):
        if done.step:
            errors.print(f"Going on after step {done.step}.")
        if tuning.before is not None:
            errors.print(f"Held out, before: {_words(tuning.before)}.")
        if minutes is not None:
            tuning.trainer.run(minutes=max(0.0, minutes - done.seconds / 60), told=_told)
        else:
            tuning.trainer.run(steps=max(0, (steps or 0) - done.step), told=_told)
    if tuning.trainer.stopped.is_set():
        errors.print(f"Stopped after step {tuning.trainer.progress.step} and saved; the same command goes on.", style="yellow")
        raise typer.Exit(130)


def _told(line: str) -> None:
    """For logs; a terminal has the bar."""
    if not errors.is_terminal:
        errors.print(line)


@contextmanager
def _stopped_by_signals(tuning: FineTuneRun) -> Iterator[None]:
    def stop(number: int, _: object) -> None:
        tuning.trainer.stopped.set()
        signal.signal(number, signal.default_int_handler)  # the second time at once

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(tuning: FineTuneRun) -> None:
    after = tuning.measure()
    if tuning.before is not None and after is not None:
        sys.stdout.write(f"held out, before: {_words(tuning.before)}\nheld out, after:  {_words(after)}\n")
        if after.loss >= tuning.before.loss:
            errors.print("It has not got better on documents that it was not trained on.", style="yellow")
    out = tuning.write()
    sys.stdout.write(f"{out}\n")
    errors.print(f"Measure it: hunyuanocr eval FOLDER --backend torch --model-path {out}", style="green")
    errors.print(f"{out / 'training'} is only needed to go on; the curve is in it.", style="dim")


def _words(figures: EvalMetrics) -> str:
    return f"loss {figures.loss:.4f}, {figures.exact_match:.1%} of answers without a mistake ({figures.documents} documents)"
