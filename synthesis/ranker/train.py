"""Train the ranker for a given time, on generated pages and, if there are some, on real papers."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from synthesis.ranker.model import Batch, RankerModel, loss_of
from synthesis.ranker.pages import Example, generated
from synthesis.ranker.real_papers import Paper, example_of

log = logging.getLogger(__name__)
_SIZE = 24  # pages in a batch
_RATE = 2e-3
_FADE = 0.998  # of the mean of the weights over the steps


@dataclass(frozen=True)
class Plan:
    """How to train. `real`: share of batches that are real papers; `rate`: highest learning rate."""

    seconds: float
    seed: int = 1
    papers: Sequence[Paper] = ()
    real: float = 0.0
    rate: float = _RATE


class Batches(IterableDataset[Any]):
    """Batches without end; pages of similar size together."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Batch]:
        rng = random.Random(self._plan.seed)
        torch.manual_seed(self._plan.seed)
        while True:
            pages = sorted((self._page(rng) for _ in range(_SIZE * 6)), key=lambda e: len(e.features.slots))
            groups = [pages[n : n + _SIZE] for n in range(0, len(pages), _SIZE)]
            rng.shuffle(groups)
            yield from map(Batch, groups)

    def _page(self, rng: random.Random) -> Example:
        while self._plan.papers and rng.random() < self._plan.real:
            if (example := example_of(rng.choice(self._plan.papers), rng)) is not None:
                return example
        return generated(rng)


def train(plan: Plan, start: dict[str, Tensor] | None = None, *, workers: int = 1) -> RankerModel:
    """Return the trained model: the mean of the weights over the last steps. `start`: weights to begin with."""
    torch.manual_seed(plan.seed)
    model = RankerModel()
    if start is not None:
        model.load_state_dict(start)
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    batches = iter(DataLoader(Batches(plan), batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None))
    optimizer = torch.optim.AdamW(model.parameters(), plan.rate, weight_decay=0.01)
    began, step, losses = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - began) / plan.seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * min(1.0, (step + 1) / 100) * (1 if share < 0.35 else max(0.02, (1 - share) / 0.65))
        batch = next(batches)
        loss = loss_of(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, losses = step + 1, losses + loss.item()
        fade = min(_FADE, 1 - 1 / (step + 1) ** 0.8)
        for name, value in model.state_dict().items():
            mean[name].lerp_(value, 1 - fade)
        if step % 200 == 0:
            log.info("%d s, %d pages, loss %.3f", time.monotonic() - began, step * _SIZE, losses / 200)
            losses = 0.0
    model.load_state_dict(mean)
    return model.eval()


def accuracy(model: RankerModel, page: Callable[[], Example], count: int) -> tuple[float, float]:
    """Return the share of right answers to printed and to absent fields, on `count` pages."""
    right, asked = [0, 0], [0, 0]
    with torch.no_grad():
        for _ in range(count):
            example = page()
            batch = Batch([example])
            best = model(batch)[0].argmax(-1)
            for row, choice in zip(example.targets, best.tolist(), strict=True):
                absent = int(row[-1])
                asked[absent] += 1
                right[absent] += int(row[choice] > 0)
    return right[0] / max(asked[0], 1), right[1] / max(asked[1], 1)
