"""How long each stage of a request took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hunyuanocr.types import TextDelta, Usage


@dataclass
class Timing:
    """The seconds of each stage of one request, and its outcome: 'ok' or the code of an error.

    The stages are `wait`, `decode`, `read`, `fields`, and the time to wait for `evidence` and `codes` after `read`. `first_s` is
    the time to the first text within `read`, for a backend that streams.
    """

    id: str
    task: str
    outcome: str = "cancelled"
    pages: int = 0
    cached: bool = False
    usage: Usage = Usage()
    first_s: float | None = None
    stages: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    _stage_start: float = field(default_factory=time.perf_counter, repr=False)  # of the current stage

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = self._stage_start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - start

    def first_token(self, part: object) -> None:
        """Record the time to the first text; call it with each part of the stage `read`."""
        if self.first_s is None and isinstance(part, TextDelta):
            self.first_s = time.perf_counter() - self._stage_start

    def log_fields(self) -> dict[str, object]:
        """Return the values for structured logs."""
        stages = {f"{name}_ms": round(1000 * seconds) for name, seconds in self.stages.items()}
        request = {"reading": self.id, "task": self.task, "outcome": self.outcome, "pages": self.pages, "cached": self.cached}
        return request | stages

    def __str__(self) -> str:
        """Return one line for the log."""
        stages = "".join(f" {name}={1000 * seconds:.0f}ms" for name, seconds in self.stages.items())
        return f"request {self.id} task={self.task} outcome={self.outcome} pages={self.pages} cached={self.cached}{stages}"

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.started) * 1000.0
