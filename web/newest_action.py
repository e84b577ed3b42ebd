"""Of several actions on one page the newest wins: an older one is cancelled, and its result is not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NewestActions:
    """The running action of each page, by the page's id."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def run(self, page: str, action: Coroutine[Any, Any, T]) -> T | None:
        """Run an action in place of the one that is running. Return its result, or None if a newer one has replaced it."""
        task = asyncio.create_task(action)
        previous = self._running.get(page)
        self._running[page] = task
        if previous is not None:
            previous.cancel()
        try:
            result = await task
        except asyncio.CancelledError:
            if self._running.get(page) is not task:
                return None
            task.cancel()  # the event itself was cancelled
            raise
        else:
            return result if self._running.get(page) is task else None
        finally:
            if self._running.get(page) is task:
                del self._running[page]

    def __len__(self) -> int:
        return len(self._running)
