"""A reader for tests of what stands around readers: its time, its failures and its text are the test's to choose."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
from PIL import Image

from hunyuanocr.backends.base import CPU_TASKS, BackendName, Health
from hunyuanocr.types import Line, Page, Progress, Reading, Task, TaskKind, TextDelta


class FakeBackend:
    """Reads the mean colour of each page. `seconds` may be changed while it runs; `fault` is raised instead of reading."""

    __test__ = False

    def __init__(
        self, seconds: float = 0.0, tasks: frozenset[TaskKind] = CPU_TASKS, name: BackendName = BackendName.PPOCR
    ) -> None:
        self.name = name
        self.model = "test-reader"
        self.tasks = tasks
        self.scripts: tuple[str, ...] = ()
        self.seconds = seconds
        self.fault: Callable[[], Exception] | None = None
        self.start_fault: Exception | None = None
        self.gate: asyncio.Event | None = None  # a reading waits for it, when there is one
        self.begun = self.ended = self.cancelled = self.now = self.max_concurrent = 0
        self.text: str | None = None
        self.values: dict[str, object] | None = None
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1
        if self.start_fault:
            raise self.start_fault

    async def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        self.begun += 1
        self.now += 1
        self.max_concurrent = max(self.max_concurrent, self.now)
        try:
            if len(pages) > 1:
                yield Progress(1, len(pages))
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.seconds)
            if self.fault is not None:
                raise self.fault()
            text = self.text if self.text is not None else "\n".join(colour(p) for p in pages)
            yield TextDelta(text)
            lines = tuple(self._line(n, words) for n, words in enumerate(text.splitlines()))
            yield Reading(text, lines, values=self.values)
            self.ended += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise
        finally:
            self.now -= 1

    def _line(self, n: int, words: str) -> Line:
        y = 20.0 * n
        return Line(words, ((0.0, y), (100.0, y), (100.0, y + 16), (0.0, y + 16)), 0.9)

    async def health(self) -> Health:
        return Health(True, "ready")

    async def close(self) -> None:
        self.closed += 1


def colour(page: Page) -> str:
    """The mean colour as hex, e.g. '#102030'."""
    r, g, b = page.pixels.reshape(-1, 3).mean(axis=0).round().astype(int)
    return f"#{r:02x}{g:02x}{b:02x}"


def picture(red: int = 16, green: int = 32, blue: int = 48, size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    """A plain picture of one colour."""
    out = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), (red, green, blue), np.uint8)).save(out, form)
    return out.getvalue()


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something has happened; the test's own time-out says when it never does."""
    while not condition():
        await asyncio.sleep(0.001)
