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
from hunyuanocr.types import Task

T = TypeVar("T")
_LEFT_S = 1.0  # seconds in which fields are found and the answer is made


def new_id() -> str:
    """32 hexadecimal digits that nobody can guess."""
    return uuid4().hex


@dataclass(frozen=True)
class Request:
    """One picture or document and what is to be done with it. `owner` separates cached results of different clients.

    `more` are further pictures; their pages follow those of `data`, as if all were one document.
    """

    data: bytes
    task: Task
    owner: str = "local"
    id: str = field(default_factory=new_id)
    deadline_s: float | None = None  # None takes the setting
    more: tuple[bytes, ...] = ()


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
    """

    id: str
    task: str
    outcome: str = "cancelled"
    pages: int = 0
    cached: bool = False
    stages: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - began

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request came."""
        return (time.perf_counter() - self.started) * 1000.0
