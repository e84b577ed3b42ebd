"""The demo checkpoint: `python -m demo_model build RUN`, `export RUN MODEL`, `render OUT`, `score MODEL`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from demo_model import heldout
from demo_model import run as runs

HERE = Path(__file__).parent
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()


@app.command()
def build(  # noqa: PLR0917  typer reads the options from the signature
    run: Annotated[Path, typer.Argument(help="Folder of the run, with checkpoints and curve; an existing run is resumed.")],
    minutes: Annotated[float, typer.Option(help="Training time of this call in minutes.")] = 360.0,
    recipe: Annotated[Path, typer.Option(help="Training settings.")] = HERE / "demo.toml",
    continue_from: Annotated[Path | None, typer.Option(help="Start from the weights of this checkpoint folder.")] = None,
    level: Annotated[int, typer.Option(min=0, help="First level of a new run.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
) -> None:
    """Train. After an interruption the same command resumes from the last checkpoint."""
    torch.set_num_threads(threads)
    trainer = runs.trainer(run, recipe, start=continue_from, device=device)
    if not trainer.progress.step:
        trainer.progress.level = level
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: trainer.stopped.set())
    with (run / "train.log").open("a", encoding="utf-8", buffering=1) as log:
        trainer.run(minutes=minutes, on_progress=lambda line: print(line, file=log))
    console.print(f"Checkpoint saved in {run}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    model: Annotated[Path, typer.Argument(help="Checkpoint folder to write.")],
) -> None:
    """Export the latest checkpoint of a run in 16 bits."""
    runs.export(run, model)
    console.print(f"{model}: {(model / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


@app.command()
def render(
    out: Annotated[Path, typer.Argument(help="Output folder for NNNN.jpg, .csv, .json.")],
    count: Annotated[int, typer.Option(min=1)] = 50,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    worn: Annotated[bool, typer.Option("--worn", help="Apply degradations by light, wear or compression.")] = False,
) -> None:
    """Render receipts for `hunyuanocr eval`, with shops and layouts that are not in the training data."""
    heldout.save(out, count, seed, spoilt=worn)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    count: Annotated[int, typer.Option(min=1)] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Measure exact matches of lines and fields on held-out receipts, without decoding."""
    torch.set_num_threads(threads)
    console.print_json(data=heldout.measure(model, count, seed))


if __name__ == "__main__":
    app()
