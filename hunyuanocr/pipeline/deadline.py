"""Until when a request's answer is of use."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from typing import TypeVar

from hunyuanocr.errors import DeadlineExceeded

T = TypeVar("T")
_RESERVE_S = 1.0  # seconds in which fields are found and the answer is made


class Deadline:
    """The moment by which a request must be answered, waiting included."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    def minus_reserve(self) -> Deadline:
        """For work that the answer can do without: leaves a tenth of the time, at most a second, to go on without it."""
        sooner = copy.copy(self)
        sooner._at -= min(_RESERVE_S, 0.1 * self.seconds)
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
