"""The deadline of a request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable
from typing import TypeVar

from hunyuanocr.errors import DeadlineExceeded

T = TypeVar("T")
_RESERVE_S = 1.0  # to extract fields and build the answer


class Deadline:
    """The time at which a request must be answered; time in the queue counts."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    def minus_reserve(self) -> Deadline:
        """Return an earlier deadline for optional work: a tenth of the time, at most one second, remains after it."""
        earlier = copy.copy(self)
        earlier._at -= min(_RESERVE_S, 0.1 * self.seconds)
        return earlier

    async def within(self, work: Awaitable[T]) -> T:
        """Return the result of the work. At the deadline, cancel the work and raise DeadlineExceeded."""
        scope = asyncio.timeout_at(self._at)
        try:
            async with scope:
                return await work
        except TimeoutError as e:
            if scope.expired():
                raise DeadlineExceeded(f"The request was not completed within {self.seconds:g} seconds.") from e
            raise  # a timeout of the work itself
