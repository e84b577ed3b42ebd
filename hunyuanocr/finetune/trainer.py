"""The training loop: levels that rise, states on the disk, resuming as if nothing had happened."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor

from hunyuanocr.errors import WeightsInvalid
from hunyuanocr.finetune import checkpoint, loss_plot
from hunyuanocr.finetune.batching import Batch, Collator, SampleSource
from hunyuanocr.finetune.char_head import CharacterHead
from hunyuanocr.finetune.config import TrainConfig
from hunyuanocr.finetune.model import Losses, compute_losses
from hunyuanocr.finetune.optimizer import Optimizers

_SMOOTH = 0.98  # of the running losses
_MIN_STEPS = 100  # of a level, before its running loss says anything
_EVERY = 25  # steps between points of the curve


class Trainer:
    """Trains `model` in place, its answers and, with a `head` and samples that know where characters are, its reading.

    `folder` takes the states and the curve; a state there already is gone on from. Weights that take no gradient are not trained
    and not in the states.

    Two runs of N steps equal one of 2N, weight for weight, on the same machine with the same number of threads, outside the
    last `decay_minutes`, which go by the clock.
    """

    def __init__(
        self,
        model: Any,
        source: SampleSource,
        *,
        collator: Collator,
        recipe: TrainConfig,
        folder: Path,
        head: CharacterHead | None = None,
    ) -> None:
        self.model, self.source, self.collator = model, source, collator
        self.recipe, self.folder, self.head = recipe, folder, head
        self.progress = checkpoint.TrainState()
        self.stopped = Event()  # set from outside, it ends `run` after the step that is under way
        self.device = next(model.parameters()).device
        self.optimizer = Optimizers(self._parameters(), recipe)
        torch.manual_seed(recipe.seed)
        if (found := checkpoint.load_latest(folder)) is not None:
            self.progress, parts = found
            self._restore(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
            if head is not None and "head" in parts:
                head.load_state_dict(parts["head"])

    def run(self, *, minutes: float | None = None, steps: int | None = None,
            told: Callable[[str], None] | None = None) -> checkpoint.TrainState:  # fmt: skip
        """Train until the time is over or the steps are done, and write the state. `told` hears a line now and then."""
        begin = saved = time.monotonic()
        first, total = self.progress.step, minutes * 60 if minutes else steps
        end = None if steps is None else first + steps
        self.model.train()
        with ThreadPoolExecutor(1) as ahead, _bar() as bar:
            task = bar.add_task("training", total=total)
            coming = self._submit(ahead, self.progress.step)
            while not (self.stopped.is_set() or _over(begin, minutes)) and (steps is None or self.progress.step - first < steps):
                start = time.monotonic()
                batch, guess = coming.result(), self._submit(ahead, self.progress.step + 1)
                level, reached = self._level(self.progress.step), self.progress.level
                found = self._step(batch, self._pace(begin, minutes, end))
                self._account(found, level, len(batch.ids), time.monotonic() - start)
                coming = guess if self.progress.level == reached else self._submit(ahead, self.progress.step)
                bar.update(task, completed=time.monotonic() - begin if minutes else self.progress.step - first,
                           description=self.words(found))  # fmt: skip
                if told is not None and self.progress.step % _EVERY == 0:
                    told(self.words(found))
                if time.monotonic() - saved > self.recipe.save_minutes * 60:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return self.progress

    def save(self) -> Path:
        """Write the state and the curve."""
        parts = {"model": self._weights(), "optimizer": self.optimizer.state_dict()}
        if self.head is not None:
            parts["head"] = self.head.state_dict()
        file = checkpoint.save(self.folder, self.progress, parts)
        loss_plot.plot_losses(self.progress.curve, self.folder / "curve.png")
        return file

    def _weights(self) -> dict[str, Tensor]:
        """The model's state, without what is not trained."""
        held: dict[str, Tensor] = self.model.state_dict()
        trained = {name for name, weight in self.model.named_parameters() if weight.requires_grad}
        whole = all(weight.requires_grad for weight in self.model.parameters())
        return held if whole else {name: value for name, value in held.items() if name in trained}

    def _restore(self, weights: dict[str, Tensor]) -> None:
        if weights.keys() != self._weights().keys():
            raise WeightsInvalid(f"The state in {self.folder} is of other weights.", hint="Train into another folder.")
        self.model.load_state_dict(weights, strict=False)

    def _parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        named = list(self.model.named_parameters())
        return named + ([] if self.head is None else [(f"head.{n}", p) for n, p in self.head.named_parameters()])

    def words(self, found: Losses) -> str:
        """One line about where the run stands."""
        p = self.progress
        speed = p.samples / p.seconds if p.seconds else 0.0
        name = self.recipe.levels[p.level].name
        return (f"{name} step {p.step} samples {p.samples} loss {p.running or 0:.3f} reading {p.reading or 0:.3f} "
                f"right {found.right:.3f} whole {found.exact_match:.3f} read {found.read:.3f} {speed:.1f}/s")  # fmt: skip

    def _level(self, step: int) -> int:
        """The level of a step: the one that has been reached, sometimes an earlier one."""
        level, rng = self.progress.level, random.Random(f"{self.recipe.seed}:level:{step}")  # noqa: S311  no secret
        return rng.randrange(level) if level and rng.random() < self.recipe.review else level

    def _submit(self, ahead: ThreadPoolExecutor, step: int) -> Future[Batch]:
        """Have a step's batch made while the step before it is computed."""
        level = self._level(step)
        return ahead.submit(lambda: self.collator(self.source.batch(level, step, self.recipe.levels[level].batch)))

    def _pace(self, begin: float, minutes: float | None, end: int | None) -> float:
        """The share of the recipe's rates that applies now; `end` is the step with which the run is done."""
        pace = min(1.0, (self.progress.step + 1) / max(1, self.recipe.warmup))
        if minutes is not None and self.recipe.decay_minutes:
            left = minutes - (time.monotonic() - begin) / 60
            pace *= min(1.0, max(0.02, left / self.recipe.decay_minutes))
        if end is not None and self.recipe.decay_steps:
            pace *= min(1.0, (end - self.progress.step) / self.recipe.decay_steps)
        return pace

    def _account(self, found: Losses, level: int, count: int, seconds: float) -> None:
        """Count a step; the level rises when the running loss of its answers is low enough."""
        p = self.progress
        p.step, p.samples, p.seconds = p.step + 1, p.samples + count, p.seconds + seconds
        if level == p.level:
            p.running, p.reading = _smoothed(p.running, found.answer), _smoothed(p.reading, found.reading)
            p.level_step += 1
        if p.step % _EVERY == 0:
            answer, reading = (math.nan if loss is None else loss for loss in (p.running, p.reading))
            p.curve.append((p.samples, p.level, answer, reading))
        judged = p.reading if p.running is None else p.running
        low = judged is not None and judged < self.recipe.levels[p.level].until
        if low and p.level_step >= _MIN_STEPS and p.level + 1 < len(self.recipe.levels):
            p.level, p.level_step, p.running, p.reading = p.level + 1, 0, None, None

    def _step(self, batch: Batch, pace: float) -> Losses:
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            found = compute_losses(self.model, batch, self.head)
        parts = [found.answer, None if found.reading is None else self.recipe.reading * found.reading]
        torch.stack([part for part in parts if part is not None]).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for _, p in self._parameters() if p.grad is not None], self.recipe.clip)
        self.optimizer.step(pace)
        return found


def _smoothed(old: float | None, new: Tensor | None) -> float | None:
    if new is None:
        return old
    value = float(new.detach())
    return value if old is None else _SMOOTH * old + (1 - _SMOOTH) * value


def _over(begin: float, minutes: float | None) -> bool:
    return minutes is not None and time.monotonic() - begin >= minutes * 60


def _bar() -> Bar:
    console = Console(stderr=True)
    return Bar(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
               console=console, disable=not console.is_terminal)  # fmt: skip
