"""A backend without a model, for trying out the program and for clients' tests: every page reads as the same receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from hunyuanocr.backends.base import CPU_TASKS, BackendName, Health, check_task
from hunyuanocr.types import Line, Page, Progress, Reading, ResultWarning, Task, TextDelta

_LINES = ("SAMPLE SHOP 示例商店", "Date: 2026-01-31", "Coffee 2 x 3.50  7.00", "Tea 1 x 2.50  2.50", "Total: 9.50")
_MESSAGE = "The fake backend serves: these values are invented, the picture was not read."
_CONFIDENCE = 0.99
_PAGE_S = 0.05  # about what a fast reader takes, so that clients meet queues and cancellation


class FakeBackend:
    """Answer every request alike: the lines are spread over the page, below each other."""

    name = BackendName.FAKE
    model = "fake"
    tasks = CPU_TASKS
    scripts = ()

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        """Yield the text and the lines of the sample receipt for each page, with a warning that they are invented.

        Raises TaskNotSupported for tasks that only a language model can do.
        """
        check_task(self, task.kind)
        lines: list[Line] = []
        for done, page in enumerate(pages, 1):
            await asyncio.sleep(_PAGE_S)
            lines += _lines_of(page)
            yield TextDelta("\n".join(_LINES) + "\n")
            if len(pages) > 1:
                yield Progress(done, len(pages))
        yield Reading("\n".join(line.text for line in lines), tuple(lines), notices=(ResultWarning("fake_backend", _MESSAGE),))

    async def health(self) -> Health:
        """Return that it is ready."""
        return Health(True, "ready")

    async def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _lines_of(page: Page) -> list[Line]:
    """Return the lines of one page, each with its box in pixels of `page`."""
    rows, columns = page.pixels.shape[:2]
    height = rows / (2 * len(_LINES))
    return [
        Line(text, page.to_original([(0, y), (columns, y), (columns, y + height), (0, y + height)]), _CONFIDENCE, page=page.index)
        for text, y in ((text, 2 * n * height) for n, text in enumerate(_LINES))
    ]
