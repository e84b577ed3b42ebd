"""What goes into the pipeline, how long it may take, and how long each of its stages took."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

from hunyuanocr.errors import DeadlineExceeded
from hunyuanocr.types import Task, TextDelta, Usage

T = TypeVar("T")
_LEFT_S = 1.0  # seconds in which fields are found and the answer is made


def new_id() -> str:
    """32 hexadecimal digits that nobody can guess."""
    return uuid4().hex


@dataclass(frozen=True)
class Request:
    """One picture or document and what is to be done with it. `owner` separates cached results of different clients.

    `more` are further pictures; their pages follow those of `data`, as if all were one document. `client` separates clients that
    share an owner where turns are shared out fairly. `background`: nobody stands and waits for it.
    """

    data: bytes
    task: Task
    owner: str = "local"
    id: str = field(default_factory=new_id)
    deadline_s: float | None = None  # None takes the setting
    more: tuple[bytes, ...] = ()
    client: str = ""
    background: bool = False

    @property
    def fair_key(self) -> str:
        """Among whose requests its turn is counted."""
        return self.client or self.owner


class Deadline:
    """The moment by which a request must be answered, waiting included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    def earlier(self) -> Deadline:
        """For work that the answer can do without: leaves a tenth of the time, at most a second, to go on without it."""
        sooner = copy.copy(self)
        sooner._at -= min(_LEFT_S, 0.1 * self.seconds)
        return sooner

    async def within(self, work: Awaitable[T]) -> T:
        """The work's result; when time runs out the work is cancelled and DeadlineExceeded raised."""
        scope = asyncio.timeout_at(self._at)
        try:
            async with scope:
                return await work
        except TimeoutError as e:
            if scope.expired():
                raise DeadlineExceeded(f"The answer was not ready within {self.seconds:g} seconds.") from e
            raise  # the work's own time-out, not ours


@dataclass
class Timing:
    """Seconds of each stage of one request and how it ended: 'ok' or an error's code.

    The stages are `wait`, `decode`, `read`, `fields`; and `evidence`, for how much longer than the reading its proof took.
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

    def piece(self, part: object) -> None:
        """Something has come within the stage `read`; the first text counts."""
        if self.first_s is None and isinstance(part, TextDelta):
            self.first_s = time.perf_counter() - self._began

    def fields(self) -> dict[str, object]:
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
