"""PDFs that were made to hang or to fill the appliance: refused in time, in a process of their own, and nobody else waits."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from api.app import create_app
from hunyuanocr.config import ImageSettings, PipelineSettings, Settings
from hunyuanocr.errors import DeadlineExceeded, DecodingBusy, DocumentTooComplex, HunyuanOcrError, RendererUnavailable
from hunyuanocr.images import Cancellation, ImageDecoder, WorkCancelled
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline import Pipeline, Request
from tests.api.conftest import served
from tests.attacks import hostile
from tests.support.fake_backend import FakeBackend, picture, wait_until

PAGE_S = 1.0  # that a page may take here
READ = parse_instruction("")


def workers() -> list[psutil.Process]:
    """The children that draw PDFs."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any("pdf_worker" in word for word in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


async def gone(seconds: float = 3.0) -> bool:
    ends = time.monotonic() + seconds
    while workers() and time.monotonic() < ends:
        await asyncio.sleep(0.02)
    return not workers()


def settings(*, page_s: float = PAGE_S, memory_mb: float = 300, **limits: float) -> Settings:
    return Settings(
        images=ImageSettings(pdf_timeout_s=page_s, pdf_memory_mb=memory_mb), pipeline=PipelineSettings(cache_mb=0, **limits)
    )


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Pipeline]]:
    """The API in process, with one reading at a time."""
    pipeline = Pipeline(FakeBackend(), settings)
    app = create_app(settings, pipeline)
    async with app.router.lifespan_context(app):
        await wait_until(lambda: pipeline.state.ready)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=60) as client:
            yield client, pipeline


async def read(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await client.post("/ocr", files={"file": data})


@pytest.fixture
def decoder() -> Iterator[ImageDecoder]:
    with ImageDecoder(settings().images) as decoder:
        yield decoder


# Time


async def test_pictures_are_read_at_once_while_hostile_pdfs_are_drawn_and_refused() -> None:
    async with opened(settings()) as (client, _):
        await read(client, picture())  # warm
        began = time.monotonic()
        attacks = [asyncio.create_task(read(client, hostile.shadings())) for _ in range(3)]
        await wait_until(lambda: len(workers()) > 0)
        slowest = 0.0
        while not all(task.done() for task in attacks):
            sent = time.monotonic()
            assert (await read(client, picture())).status_code == 200
            slowest = max(slowest, time.monotonic() - sent)
            assert (await client.get("/ready")).status_code == 200
        assert time.monotonic() - began < 3 * PAGE_S + 4
        assert slowest < 1.0
        for task in attacks:
            answer = task.result()
            assert (answer.status_code, answer.json()["code"]) == (422, "document_too_complex")
            assert answer.json()["hint"]
        assert await gone()
        answer = await read(client, hostile.honest_pdf(2))
        assert (answer.status_code, answer.json()["pages"]) == (200, 2)


@pytest.mark.parametrize("name", hostile.SLOW_PDFS)
def test_what_draws_for_hours_is_stopped(name: str, decoder: ImageDecoder) -> None:
    data = hostile.SLOW_PDFS[name]()
    began = time.monotonic()
    with pytest.raises(DocumentTooComplex, match="takes too long to draw"):
        decoder.open_pages(data)
    assert time.monotonic() - began < PAGE_S + 4  # the start of a process included
    assert workers() == []
    assert len(decoder.open_pages(hostile.honest_pdf())) == 1


def test_a_document_of_many_slow_pages_has_a_limit_of_its_own() -> None:
    leaf = b"<</Type/Page/Parent 2 0 R%s/Resources<</Shading<</S 5 0 R>>>>/Contents 4 0 R>>" % hostile.A4
    function = b"<</FunctionType 2/Domain[0 1]/C0[1 0 0]/C1[0 0 1]/N 1>>"
    shading = b"<</ShadingType 3/ColorSpace/DeviceRGB/Coords[300 400 0 300 400 500]/Function %s/Extend[true true]>>" % function
    pages = b"<</Type/Pages/Kids[%s]/Count 12>>" % b"".join(b"%d 0 R " % (6 + n) for n in range(12))
    data = hostile.pdf([hostile.CATALOGUE[0], pages, b"null", hostile.stream(b"/S sh\n"), shading, *[leaf] * 12])
    with ImageDecoder(ImageSettings(pdf_timeout_s=60)) as patient:  # how long it takes here
        began = time.monotonic()
        patient.open_pages(data)
        whole = time.monotonic() - began
    began = time.monotonic()
    with ImageDecoder(ImageSettings(pdf_timeout_s=whole / 5)) as decoder, pytest.raises(DocumentTooComplex):
        decoder.open_pages(data)
    assert time.monotonic() - began < whole


async def test_a_deadline_that_passes_ends_the_child() -> None:
    async with opened(settings(page_s=60, deadline_s=1.0)) as (client, _):
        answer = await read(client, hostile.shadings())
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        assert await gone()


async def test_a_client_that_leaves_ends_the_child() -> None:
    app = create_app(settings(page_s=60), Pipeline(FakeBackend(), settings(page_s=60)))
    with served(app) as address:
        async with httpx.AsyncClient(base_url=address) as client:
            while (await client.get("/ready")).status_code != 200:
                await asyncio.sleep(0.05)
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/ocr", files={"file": hostile.shadings()}, timeout=1.0)
        ends = time.monotonic() + 3
        while any(child.cpu_times().user > 0.5 for child in workers()):
            assert time.monotonic() < ends, "it still draws"
            await asyncio.sleep(0.05)


def test_a_parent_that_is_killed_takes_the_child_along(tmp_path: Path) -> None:
    file = tmp_path / "x.pdf"
    file.write_bytes(hostile.shadings())
    code = (
        "import sys; from hunyuanocr.config import ImageSettings; from hunyuanocr.images import open_pages\n"
        "open_pages(open(sys.argv[1], 'rb').read(), ImageSettings(pdf_timeout_s=600))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(file)])
    try:
        ends = time.monotonic() + 30
        while not (children := [c for c in psutil.Process(parent.pid).children() if c.cpu_times().user > 0.3]):
            assert time.monotonic() < ends
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == []


# Memory


@pytest.mark.parametrize("name", hostile.GREEDY_PDFS)
async def test_what_asks_for_gigabytes_ends_its_child_and_nothing_else(name: str) -> None:
    async with opened(settings(page_s=20)) as (client, _):
        before = psutil.Process().memory_info().rss
        answer = await read(client, hostile.GREEDY_PDFS[name]())
        assert (answer.status_code, answer.json()["code"]) == (422, "document_too_complex")
        assert psutil.Process().memory_info().rss < before + 100e6
        assert (await read(client, hostile.honest_pdf())).status_code == 200


@pytest.mark.parametrize("name", hostile.DAMAGED_PDFS)
def test_what_lies_about_its_pages_is_damaged(name: str, decoder: ImageDecoder) -> None:
    with pytest.raises(HunyuanOcrError) as refusal:
        decoder.open_pages(hostile.DAMAGED_PDFS[name]())
    assert refusal.value.code in {"unreadable_image", "document_too_complex"}
    assert len(decoder.open_pages(hostile.honest_pdf())) == 1


def test_a_huge_image_in_a_pdf_stays_within_the_childs_memory(decoder: ImageDecoder) -> None:
    with suppress(DocumentTooComplex):  # or drawn without it
        decoder.open_pages(hostile.huge_image())
    assert len(decoder.open_pages(hostile.honest_pdf())) == 1


def test_the_child_has_limits_and_nothing_of_our_environment(decoder: ImageDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_SECURITY__JWT__SECRET", "x" * 40)
    decoder.open_pages(hostile.honest_pdf())
    (child,) = workers()
    limits = {
        name: child.rlimit(number)[0]
        for name, number in (("data", psutil.RLIMIT_AS), ("core", psutil.RLIMIT_CORE), ("file", psutil.RLIMIT_FSIZE))
    }
    assert 300e6 <= limits["data"] < 500e6
    assert (limits["core"], limits["file"]) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NOFILE)[0] <= 64
    assert "HUNYUANOCR" not in " ".join(child.environ())
    assert child.memory_info().rss < 60e6
    assert all(name not in Path(f"/proc/{child.pid}/maps").read_text() for name in ("numpy", "torch", "PIL"))


# Who waits for whom


async def test_one_client_cannot_keep_another_from_having_a_pdf_read() -> None:
    async with opened(settings(page_s=3)) as (_, pipeline):
        attacks = [asyncio.create_task(pipeline.run(Request(hostile.shadings(), READ, owner="one"))) for _ in range(6)]
        await wait_until(lambda: len(workers()) > 0)
        began = time.monotonic()
        result = await pipeline.run(Request(hostile.honest_pdf(), READ, owner="other"))
        assert result.text
        assert time.monotonic() - began < 3
        assert not any(task.done() for task in attacks)
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
        assert pipeline.busy is False


async def test_too_many_documents_are_reported_when_to_come_again() -> None:
    async with opened(settings(page_s=30, queue_size=4)) as (client, pipeline):
        attacks = [asyncio.create_task(read(client, hostile.shadings())) for _ in range(3)]
        await wait_until(lambda: pipeline.decoding.open_documents.waiting == 2)
        answer = await read(client, hostile.honest_pdf())
        assert (answer.status_code, answer.json()["code"]) == (503, "decoding_busy")
        assert int(answer.headers["retry-after"]) > 0
        assert (await read(client, picture())).status_code == 200
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)


async def test_a_preview_of_a_hostile_pdf_holds_up_no_picture_and_ends_with_its_deadline() -> None:
    pipeline = Pipeline(FakeBackend(), settings(page_s=60, deadline_s=2.0))
    attacks = [asyncio.create_task(pipeline.decoding.preview(hostile.shadings(), f"person {n}")) for n in range(4)]
    await wait_until(lambda: len(workers()) == 2)
    began = time.monotonic()
    assert len(await pipeline.decoding.preview(picture(), "another")) == 1
    assert time.monotonic() - began < 1
    ended = await asyncio.gather(*attacks, return_exceptions=True)
    assert all(isinstance(error, DeadlineExceeded) for error in ended)
    assert await gone()
    await pipeline.close()


# The pool


def test_cancelling_ends_the_work_at_once(decoder: ImageDecoder) -> None:
    import threading

    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.cancel).start()
    began = time.monotonic()
    with ImageDecoder(ImageSettings(pdf_timeout_s=60)) as slow, pytest.raises(WorkCancelled):
        slow.open_pages(hostile.shadings(), cancellation)
    assert time.monotonic() - began < 3
    with pytest.raises(WorkCancelled):
        decoder.open_pages(hostile.honest_pdf(), cancellation)


async def test_ready_is_red_while_no_child_starts_and_green_again_afterwards() -> None:
    async with opened(settings()) as (client, pipeline):
        pool = pipeline.decoding.decoder.pdf
        pool.probe_s = 0.1
        whole, pool.command = pool.command, (sys.executable, "-c", "raise SystemExit(7)")
        answer = await client.get("/ready")
        assert (answer.status_code, answer.json()["code"]) == (503, "renderer_unavailable")
        assert "did not start: exit status 7" in answer.json()["detail"]
        answer = await read(client, hostile.honest_pdf())
        assert (answer.status_code, answer.json()["code"]) == (503, "renderer_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert (await read(client, picture())).status_code == 200, "pictures are read all the same"
        pool.command = whole
        while (await client.get("/ready")).status_code != 200:
            await asyncio.sleep(0.02)
        assert (await read(client, hostile.honest_pdf())).status_code == 200


async def test_ready_is_red_while_all_children_are_stuck_beyond_their_deadline() -> None:
    async with opened(settings(page_s=20)) as (client, pipeline):
        pipeline.decoding.decoder.pdf.overdue_s = -59.0  # as if a minute had passed since the deadline
        attacks = [asyncio.create_task(pipeline.run(Request(hostile.shadings(), READ, owner=name))) for name in ("one", "two")]
        await wait_until(lambda: len(workers()) == 2)
        await wait_until(lambda: pipeline.decoding.decoder.pdf.problem() is not None)
        answer = await client.get("/ready")
        assert (answer.status_code, "stuck" in answer.json()["detail"]) == (503, True)
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
        await wait_until(lambda: pipeline.decoding.decoder.pdf.problem() is None)
        assert (await client.get("/ready")).status_code == 200


def test_a_child_that_was_killed_while_idle_is_replaced(decoder: ImageDecoder) -> None:
    decoder.open_pages(hostile.honest_pdf())
    (child,) = workers()
    os.kill(child.pid, signal.SIGKILL)
    child.wait(5)
    assert len(decoder.open_pages(hostile.honest_pdf())) == 1


def test_a_child_is_used_again_and_ended_when_idle(decoder: ImageDecoder) -> None:
    decoder.pdf.idle_s = 1.5
    decoder.open_pages(hostile.honest_pdf())
    (child,) = workers()
    with pytest.raises(HunyuanOcrError):
        decoder.open_pages(b"%PDF-1.7 nothing else")
    decoder.open_pages(hostile.honest_pdf())
    assert workers() == [child]
    child.wait(10)
    assert workers() == []


def test_a_child_is_replaced_after_many_documents(decoder: ImageDecoder) -> None:
    decoder.pdf.max_documents = 2
    decoder.open_pages(hostile.honest_pdf())
    (child,) = workers()
    decoder.open_pages(hostile.honest_pdf())
    assert workers() == []
    decoder.open_pages(hostile.honest_pdf())
    assert workers()[0].pid != child.pid


def test_a_closed_pool_has_no_children_and_says_so() -> None:
    decoder = ImageDecoder(settings().images)
    decoder.open_pages(hostile.honest_pdf())
    decoder.close()
    assert workers() == []
    with pytest.raises(RendererUnavailable, match="shutting down"):
        decoder.open_pages(hostile.honest_pdf())


@pytest.mark.parametrize("answer", [b"P\xff\xff\xff\xff", b"N\0\0\0\x04\0\0\0\x01P\0\0\0\x18" + bytes(24), b"X\0\0\0\0", b"R"])
def test_a_child_that_says_what_it_should_not_is_not_believed(answer: bytes, decoder: ImageDecoder) -> None:
    script = (
        f"import sys, os, time; os.write(1, b'R\\0\\0\\0\\0'); sys.stdin.buffer.read(40); os.write(1, {answer!r}); time.sleep(9)"
    )
    decoder.pdf.command = (sys.executable, "-c", script)
    with pytest.raises(DocumentTooComplex):
        decoder.open_pages(hostile.honest_pdf())


def test_busy_is_a_refusal_that_may_be_repeated() -> None:
    assert DecodingBusy("x").retryable
    assert DecodingBusy("x").retry_after > 0
