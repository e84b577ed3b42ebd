"""The training loop: curriculum levels, states on disk, exact resumption."""

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
from hunyuanocr.finetune.model import Losses, compute_losses, mixed_precision
from hunyuanocr.finetune.optimizer import Optimizers

_SMOOTHING = 0.98  # of the running losses
_MIN_STEPS = 100  # of a level, before its running loss is meaningful
_LOG_STEPS = 25  # steps between points of the curve


class Trainer:
    """Train `model` in place: its answers, and its character head if there is a `head` and samples with character positions.

    `folder` stores states and the loss plot; training resumes from a state in it. Frozen weights are neither trained nor stored.

    Two runs of N steps equal one of 2N, weight for weight, on the same machine with the same number of threads, except in the
    last `decay_minutes`, which depend on the clock.
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
        self.stopped = Event()  # when set, `run` ends after the current step
        self.device = next(model.parameters()).device
        self.optimizer = Optimizers(self._parameters(), recipe)
        torch.manual_seed(recipe.seed)
        if (state := checkpoint.load_latest(folder)) is not None:
            self.progress, parts = state
            self._restore(parts["model"])
            self.optimizer.load_state_dict(parts["optimizer"])
            if head is not None and "head" in parts:
                head.load_state_dict(parts["head"])

    def run(
        self, *, minutes: float | None = None, steps: int | None = None, on_progress: Callable[[str], None] | None = None
    ) -> checkpoint.TrainState:
        """Train for a time or a number of steps and save the state. `on_progress` gets a status line at intervals."""
        started_at = saved_at = time.monotonic()
        first, total = self.progress.step, minutes * 60 if minutes else steps
        end = None if steps is None else first + steps
        self.model.train()
        with ThreadPoolExecutor(1) as prefetch, _bar() as bar:
            task = bar.add_task("training", total=total)
            pending = self._submit(prefetch, self.progress.step)
            while not (self.stopped.is_set() or _is_over(started_at, minutes)) and (
                steps is None or self.progress.step - first < steps
            ):
                start = time.monotonic()
                batch, following = pending.result(), self._submit(prefetch, self.progress.step + 1)
                level, reached = self.level_of(self.progress.step), self.progress.level
                losses = self._step(batch, self.pace_at(started_at, minutes, end))
                self._account(losses, level, len(batch.ids), time.monotonic() - start)
                pending = following if self.progress.level == reached else self._submit(prefetch, self.progress.step)
                bar.update(
                    task,
                    completed=time.monotonic() - started_at if minutes else self.progress.step - first,
                    description=self.status(losses),
                )
                if on_progress is not None and self.progress.step % _LOG_STEPS == 0:
                    on_progress(self.status(losses))
                if time.monotonic() - saved_at > self.recipe.save_minutes * 60:
                    self.save()
                    saved_at = time.monotonic()
        self.save()
        return self.progress

    def save(self) -> Path:
        """Write the state and the loss plot."""
        parts = {"model": self._weights(), "optimizer": self.optimizer.state_dict()}
        if self.head is not None:
            parts["head"] = self.head.state_dict()
        file = checkpoint.save(self.folder, self.progress, parts)
        loss_plot.plot_losses(self.progress.curve, self.folder / "curve.png")
        return file

    def _weights(self) -> dict[str, Tensor]:
        """Return the model's state without frozen weights."""
        state: dict[str, Tensor] = self.model.state_dict()
        trained = {name for name, weight in self.model.named_parameters() if weight.requires_grad}
        full = all(weight.requires_grad for weight in self.model.parameters())
        return state if full else {name: value for name, value in state.items() if name in trained}

    def _restore(self, weights: dict[str, Tensor]) -> None:
        if weights.keys() != self._weights().keys():
            raise WeightsInvalid(f"The state in {self.folder} has other weights.", hint="Train in another folder.")
        self.model.load_state_dict(weights, strict=False)

    def _parameters(self) -> list[tuple[str, torch.nn.Parameter]]:
        named = list(self.model.named_parameters())
        return named + ([] if self.head is None else [(f"head.{n}", p) for n, p in self.head.named_parameters()])

    def status(self, losses: Losses) -> str:
        """Return one line about the progress of the run."""
        p = self.progress
        speed = p.samples / p.seconds if p.seconds else 0.0
        name = self.recipe.levels[p.level].name
        return (
            f"{name} step {p.step} samples {p.samples} loss {p.running or 0:.3f} reading {p.reading or 0:.3f} "
            f"right {losses.right:.3f} whole {losses.exact_match:.3f} read {losses.read:.3f} {speed:.1f}/s"
        )

    def level_of(self, step: int) -> int:
        """Return the level of a step: the current one, sometimes an earlier one."""
        level, rng = self.progress.level, random.Random(f"{self.recipe.seed}:level:{step}")  # noqa: S311  not a secret
        return rng.randrange(level) if level and rng.random() < self.recipe.review else level

    def _submit(self, prefetch: ThreadPoolExecutor, step: int) -> Future[Batch]:
        """Create a step's batch in the background."""
        level = self.level_of(step)
        return prefetch.submit(lambda: self.collator(self.source.batch(level, step, self.recipe.levels[level].batch)))

    def pace_at(self, started_at: float, minutes: float | None, end: int | None) -> float:
        """Return the current share of the learning rates; `end`: last step of the run."""
        pace = min(1.0, (self.progress.step + 1) / max(1, self.recipe.warmup))
        if minutes is not None and self.recipe.decay_minutes:
            left = minutes - (time.monotonic() - started_at) / 60
            pace *= min(1.0, max(0.02, left / self.recipe.decay_minutes))
        if end is not None and self.recipe.decay_steps:
            pace *= min(1.0, (end - self.progress.step) / self.recipe.decay_steps)
        return pace

    def _account(self, losses: Losses, level: int, count: int, seconds: float) -> None:
        """Count a step; move to the next level when the running loss is low enough."""
        p = self.progress
        p.step, p.samples, p.seconds = p.step + 1, p.samples + count, p.seconds + seconds
        if level == p.level:
            p.running, p.reading = _smoothed(p.running, losses.answer), _smoothed(p.reading, losses.reading)
            p.level_step += 1
        if p.step % _LOG_STEPS == 0:
            answer, reading = (math.nan if loss is None else loss for loss in (p.running, p.reading))
            p.curve.append((p.samples, p.level, answer, reading))
        judged = p.reading if p.running is None else p.running
        low = judged is not None and judged < self.recipe.levels[p.level].until
        if low and p.level_step >= _MIN_STEPS and p.level + 1 < len(self.recipe.levels):
            p.level, p.level_step, p.running, p.reading = p.level + 1, 0, None, None

    def _step(self, batch: Batch, pace: float) -> Losses:
        batch = batch.to(self.device)
        with mixed_precision(self.device):
            losses = compute_losses(self.model, batch, self.head)
        parts = [losses.answer, None if losses.reading is None else self.recipe.reading * losses.reading]
        torch.stack([part for part in parts if part is not None]).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for _, p in self._parameters() if p.grad is not None], self.recipe.clip)
        self.optimizer.step(pace)
        return losses


def _smoothed(old: float | None, new: Tensor | None) -> float | None:
    if new is None:
        return old
    value = float(new.detach())
    return value if old is None else _SMOOTHING * old + (1 - _SMOOTHING) * value


def _is_over(started_at: float, minutes: float | None) -> bool:
    return minutes is not None and time.monotonic() - started_at >= minutes * 60


def _bar() -> Bar:
    console = Console(stderr=True)
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
