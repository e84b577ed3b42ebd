"""How long each stage of a request took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hunyuanocr.types import TextDelta, Usage


@dataclass
class Timing:
    """Seconds of each stage of one request and how it ended: 'ok' or an error's code.

    The stages are `wait`, `decode`, `read`, `log_fields`; and `evidence`, for how much longer than the reading its proof took.
    `first_s` is how long a reader that writes took until its first text, of the seconds of `read`.
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
    _began: float = field(default_factory=time.perf_counter, repr=False)  # the stage that runs

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        began = self._began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - began

    def first_token(self, part: object) -> None:
        """Something has come within the stage `read`; the first text counts."""
        if self.first_s is None and isinstance(part, TextDelta):
            self.first_s = time.perf_counter() - self._began

    def log_fields(self) -> dict[str, object]:
        """For logs that programs read."""
        stages = {f"{name}_ms": round(1000 * seconds) for name, seconds in self.stages.items()}
        about = {"reading": self.id, "task": self.task, "outcome": self.outcome, "pages": self.pages, "cached": self.cached}
        return about | stages

    def __str__(self) -> str:
        """One line for a log."""
        stages = "".join(f" {name}={1000 * seconds:.0f}ms" for name, seconds in self.stages.items())
        return f"request {self.id} task={self.task} outcome={self.outcome} pages={self.pages} cached={self.cached}{stages}"

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request came."""
        return (time.perf_counter() - self.started) * 1000.0
