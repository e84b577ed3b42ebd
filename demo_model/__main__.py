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
    run: Annotated[Path, typer.Argument(help="folder of the run: its states and curve; gone on from if there")],
    minutes: Annotated[float, typer.Option(help="how long this call trains")] = 360.0,
    recipe: Annotated[Path, typer.Option(help="settings")] = HERE / "demo.toml",
    continue_from: Annotated[Path | None, typer.Option(help="begin with the weights of this checkpoint folder")] = None,
    level: Annotated[int, typer.Option(min=0, help="level to begin with, where the run has no state yet")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Train. Stopped at any time, the same command goes on from the last state."""
    torch.set_num_threads(threads)
    ours = runs.trainer(run, recipe, start=continue_from, device=device)
    if not ours.progress.step:
        ours.progress.level = level
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ours.stopped.set())
    with (run / "train.log").open("a", encoding="utf-8", buffering=1) as log:
        ours.run(minutes=minutes, on_progress=lambda line: print(line, file=log))
    console.print(f"state in {run}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="folder of the run")],
    model: Annotated[Path, typer.Argument(help="checkpoint folder to write")],
) -> None:
    """Write the newest state of a run as a checkpoint of 16 bits."""
    runs.export(run, model)
    console.print(f"{model}: {(model / 'model.safetensors').stat().st_size / 1e6:.1f} MB")


@app.command()
def render(
    out: Annotated[Path, typer.Argument(help="folder for NNNN.jpg, .csv, .json")],
    count: Annotated[int, typer.Option(min=1)] = 50,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    worn: Annotated[bool, typer.Option("--worn", help="spoilt by light, wear or compression")] = False,
) -> None:
    """Receipts for `hunyuanocr eval`, with shops and layouts that training never saw."""
    heldout.save(out, count, seed, spoilt=worn)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="checkpoint folder")],
    count: Annotated[int, typer.Option(min=1)] = 100,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Figures on unseen receipts: lines and fields that a greedy decoder would write exactly. Quick: nothing is decoded."""
    torch.set_num_threads(threads)
    console.print_json(data=heldout.measure(model, count, seed))


if __name__ == "__main__":
    app()
