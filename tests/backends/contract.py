"""What every reader must do, whatever runs it: `class TestX(ReaderContract)` with a `backend` fixture (started, closed after).

A language model with random weights sees nothing: for it, `BackendContract` has all that needs no eyes.

The pages are drawn here and easy; what a reader makes of hard ones is measured by the evaluation, not by the contract.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hunyuanocr.backends.base import Backend, BackendName, Health
from hunyuanocr.errors import TaskNotSupported
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.types import FieldSpec, Page, Progress, Reading, Task, TaskKind, TextDelta

READ = Task(TaskKind.READ, "read")


def text_page(lines: list[str], index: int = 0, size: int = 32, width: int = 640) -> Page:
    """Black lines of DejaVu-like print on white paper; line n stands at y = 40 + 2·size·n, x = 40."""
    picture = Image.open(io.BytesIO(draw_text(lines, font_size=size, width=width, margin=40, spacing=2)))
    return Page(np.asarray(picture), *picture.size, index)


def blank_page(index: int = 0) -> Page:
    return Page(np.full((400, 300, 3), 255, np.uint8), 300, 400, index)


def generator_of(parts: Any) -> Any:
    """Every `read` of a backend is an asynchronous generator, which can be closed; the protocol promises an iterator."""
    return parts


async def read(backend: Backend, pages: list[Page], task: Task = READ) -> Reading:
    """The one Reading that must come last and alone of its kind."""
    async with contextlib.aclosing(generator_of(backend.read(pages, task))) as events:
        seen = [event async for event in events]
    assert isinstance(seen[-1], Reading)
    assert all(isinstance(event, (TextDelta, Progress)) for event in seen[:-1])
    return seen[-1]


class BackendContract:
    """Inherit, and give a fixture `backend`."""

    def test_says_what_it_is(self, backend: Backend) -> None:
        assert backend.name in set(BackendName) - {BackendName.AUTO}
        assert backend.model
        assert TaskKind.READ in backend.tasks
        assert backend.tasks <= set(TaskKind)

    async def test_is_ready_after_start(self, backend: Backend) -> None:
        health = await backend.health()
        assert isinstance(health, Health)
        assert health.ready
        assert health.detail

    async def test_one_pixel_is_success(self, backend: Backend) -> None:
        reading = await read(backend, [Page(np.zeros((1, 1, 3), np.uint8), 1, 1)])
        assert all(line.page == 0 for line in reading.lines)

    async def test_reading_leaves_the_event_loop_free(self, backend: Backend) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        await read(backend, [text_page(["TICK"])])
        ticking.cancel()
        assert ticks > 10

    async def test_what_it_cannot_do_is_refused_with_a_way_out(self, backend: Backend) -> None:
        for kind in set(TaskKind) - backend.tasks:
            with pytest.raises(TaskNotSupported) as refusal:
                await read(backend, [blank_page()], Task(kind))
            assert refusal.value.hint

    async def test_a_document_tells_how_many_pages_have_been_read(self, backend: Backend) -> None:
        for pages in (1, 3):
            async with contextlib.aclosing(generator_of(backend.read([blank_page(n) for n in range(pages)], READ))) as events:
                reported = [event async for event in events if isinstance(event, Progress)]
            assert reported == ([Progress(n, 3) for n in (1, 2, 3)] if pages > 1 else [])

    async def test_every_task_ends_in_one_reading(self, backend: Backend) -> None:
        for kind in backend.tasks:
            fields = (FieldSpec("total"),) if kind is TaskKind.EXTRACT else ()
            reading = await read(backend, [blank_page()], Task(kind, "read", fields))
            assert reading.finish_reason in ("stop", "length", "repetition")

    async def test_goes_on_after_a_reading_was_left(self, backend: Backend) -> None:
        task = asyncio.create_task(read(backend, [text_page(["LEFT ALONE"], n) for n in range(20)]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await read(backend, [blank_page()]) is not None


class ReaderContract(BackendContract):
    """For readers that see."""

    async def test_reads_lines_in_order_with_boxes(self, backend: Backend) -> None:
        page = text_page(["TOTAL 36.80", "Receipt 4711", "2026-11-20"])
        reading = await read(backend, [page])
        assert [line.text.replace(" ", "") for line in reading.lines] == ["TOTAL36.80", "Receipt4711", "2026-11-20"]
        assert reading.text
        for n, line in enumerate(reading.lines):
            (left, top), (right, _), (_, bottom), _ = line.box
            assert left < 60 < right <= page.width
            assert top <= 40 + 64 * n + 16 <= bottom  # through the middle of the print
            assert line.confidence is None or 0 <= line.confidence <= 1
            assert line.page == 0

    async def test_boxes_are_in_original_pixels(self, backend: Backend) -> None:
        small = text_page(["ORIGINAL PIXELS"])
        (line,) = (await read(backend, [small])).lines
        (scaled,) = (await read(backend, [Page(small.pixels, small.width * 3, small.height * 3)])).lines
        assert np.allclose(np.array(scaled.box), np.array(line.box) * 3, atol=2)

    async def test_pages_keep_their_numbers(self, backend: Backend) -> None:
        reading = await read(backend, [text_page(["FIRST PAGE"], 0), blank_page(1), text_page(["THIRD PAGE"], 2)])
        assert [(line.page, line.text.replace(" ", "")) for line in reading.lines] == [(0, "FIRSTPAGE"), (2, "THIRDPAGE")]

    async def test_no_text_is_success(self, backend: Backend) -> None:
        reading = await read(backend, [blank_page()])
        assert (reading.text, reading.lines) == ("", ())

    async def test_readings_side_by_side_do_not_mix(self, backend: Backend) -> None:
        words = ["ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT"]
        readings = await asyncio.gather(*(read(backend, [text_page([word])]) for word in words))
        assert [r.lines[0].text for r in readings] == words

    async def test_reads_on_after_a_reading_was_left(self, backend: Backend) -> None:
        task = asyncio.create_task(read(backend, [text_page(["LEFT ALONE"], n) for n in range(20)]))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await read(backend, [text_page(["STILL HERE"])])).lines[0].text.replace(" ", "") == "STILLHERE"

    async def test_one_pixel_holds_no_text(self, backend: Backend) -> None:
        assert (await read(backend, [Page(np.zeros((1, 1, 3), np.uint8), 1, 1)])).lines == ()
