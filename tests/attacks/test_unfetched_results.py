"""Pages that ask and never fetch cost the server no more than what is documented, and nothing of them can be fetched late."""

import asyncio
import io
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from fastapi import FastAPI
from PIL import Image

from api.app import create_app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.auth.test_page import OpenPage, came
from tests.support.appliance import appliance
from tests.support.fake_backend import FakeBackend, picture, wait_until
from web import upload_store
from web.app import mount_page
from web.open_pages import PageLimits
from web.session_isolation import GradioIsolationMiddleware

pytestmark = pytest.mark.timeout(180)
LIMITS = PageLimits(pages=12, events=16, events_per_page=3, waiting_bytes=200_000, listen_s=1.0, age_s=900.0)


class Site:
    """An app with its page, whose clock the test moves."""

    def __init__(self, app: FastAPI, pages: Any, reader: FakeBackend) -> None:
        self.app, self.pages, self.reader = app, pages, reader
        self.seconds = 0.0

    @property
    def memory(self) -> Any:
        return self.pages.memory

    def client(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860", timeout=30)

    async def later(self, seconds: float) -> None:
        self.seconds += seconds
        await self.pages.expire()


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    settings = Settings(
        security={"allow_anonymous": True},
        pipeline={"cache_mb": 0},
        network={"requests_per_minute_per_ip": 0, "requests_per_minute_per_key": 0},
    )
    reader = FakeBackend()
    reader.text = "合计 ¥36.80"
    pipeline = Pipeline(reader, settings)
    app = create_app(settings, pipeline)
    made = Site(app, None, reader)
    mount_page(app, pipeline, settings, limits=LIMITS, clock=lambda: made.seconds)
    monkeypatch.setattr(upload_store, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + made.seconds))
    routes: list[Any] = app.routes
    (own,) = (route.app for route in routes if isinstance(getattr(route, "app", None), GradioIsolationMiddleware))
    made.pages = own.pages
    async with app.router.lifespan_context(app):
        await wait_until(lambda: pipeline.state.ready)
        yield made


async def chosen(page: OpenPage) -> str:
    """The page with a picture, and the address of its preview."""
    token = (await page.upload(picture(size=(400, 300)))).json()["token"]
    html = await page.does("picked", [None, "en"], token=token)
    return html.split('src=\\"')[1].split('\\"')[0]


async def test_what_nobody_listens_for_is_not_read_and_cannot_be_fetched_late(site: Site) -> None:
    async with site.client() as client:
        page = OpenPage(client)
        await chosen(page)
        assert (await page.join("click", [None, "extract total amount", "en"])).status_code == 200
        await asyncio.sleep(0.2)
        assert site.reader.begun == 0
        await site.later(LIMITS.listen_s + 1)
        events = await page.events()
        assert [event["msg"] for event in events] == ["unexpected_error"]
        assert events[0]["session_not_found"]
        await site.later(LIMITS.age_s + 1)
        assert site.memory.pages() == set()


async def test_a_result_that_is_not_fetched_is_gone_after_its_time(site: Site) -> None:
    async with site.client() as client:
        page = OpenPage(client)
        preview = await chosen(page)
        (known,) = site.pages.pages
        assert (await page.join("input", [None, "en"])).status_code == 200
        with site.pages.connected(known, listens=True):  # a stream that is open and is not read
            await wait_until(lambda: site.memory.finished()[known] == 1 and not site.memory.running())
            await site.later(LIMITS.age_s - 10)
            assert site.memory.finished()[known] == 1
            assert site.memory.waiting_bytes(known) > 500
            await site.later(20)
        assert site.memory.finished()[known] == 0
        assert (await client.get(f"/{preview}")).status_code == 404


async def test_a_preview_is_its_identitys_is_kept_by_no_cache_and_has_its_time(site: Site) -> None:
    async with site.client() as client, site.client("192.0.2.7") as other:
        preview = await chosen(OpenPage(client))
        shown = await client.get(f"/{preview}")
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
        assert shown.headers["cache-control"] == "no-store"
        assert Image.open(io.BytesIO(shown.content)).size == (400, 300)
        assert (await other.get(f"/{preview}")).status_code == 404
        for wrong in ("page/previews/guess/0", preview[:-1] + "1", preview[:-1] + "-1"):
            assert (await client.get(f"/{wrong}")).status_code == 404
        await site.later(890)
        assert (await client.get(f"/{preview}")).status_code == 200
        await site.later(20)
        assert (await client.get(f"/{preview}")).status_code == 404


async def test_the_last_result_is_kept_as_long_as_its_picture(site: Site) -> None:
    async with site.client() as client:
        page = OpenPage(client)
        await chosen(page)
        assert "¥36.80" in await page.does("click", [None, "extract total amount", "en"])
        await site.later(890)
        with site.pages.connected(next(iter(site.pages.pages)), listens=False):  # the page is open still
            assert "¥36.80" in await page.does("input", [None, "zh"])
            await site.later(20)
            assert "¥36.80" not in await page.does("input", [None, "en"])
            assert "has expired" in await page.does("click", [None, "read all", "en"])


async def test_events_that_nobody_fetches_are_refused_before_they_are_many(site: Site) -> None:
    async with site.client() as greedy, site.client("192.0.2.7") as other:
        page = OpenPage(greedy)
        answers = [await page.join("input", [None, "en"]) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * LIMITS.events_per_page + [429] * 2
        assert answers[-1].json()["code"] == "queue_full"
        assert int(answers[-1].headers["retry-after"]) > 0
        answers = [await OpenPage(greedy, f"p{n}").join("input", [None, "en"]) for n in range(9)]
        assert [answer.status_code for answer in answers].count(200) == LIMITS.events // 4 - LIMITS.events_per_page
        await chosen(OpenPage(other))
        assert "¥36.80" in await OpenPage(other).does("click", [None, "extract total amount", "en"])
        await site.later(LIMITS.listen_s + 1)
        await wait_until(lambda: not site.memory.running())
        assert came(await fetched(page)), "who was refused is served again"


async def fetched(page: OpenPage) -> list[Any]:
    assert (await page.join("input", [None, "en"])).status_code == 200
    return await page.events()


async def test_many_pages_of_one_push_out_nobody_elses(site: Site) -> None:
    async with site.client() as client, site.client("192.0.2.7") as greedy:
        page = OpenPage(client)
        await chosen(page)
        for n in range(30):
            await fetched(OpenPage(greedy, f"p{n}"))
        assert len(site.pages.pages) <= LIMITS.pages // 2 + 1
        assert len(site.memory.pages()) <= LIMITS.pages // 2 + 1
        assert "¥36.80" in await page.does("click", [None, "extract total amount", "en"])


async def test_results_that_wait_have_a_bound_in_bytes(site: Site) -> None:
    async with site.client() as client:
        page, other = OpenPage(client), OpenPage(client, "second")
        await chosen(page)
        site.reader.text = "\n".join(f"a line of a long receipt {n}" for n in range(300))
        await page.does("click", [None, "read all", "en"])
        known = next(iter(site.pages.pages))
        with site.pages.connected(known, listens=True):
            for _ in range(LIMITS.events_per_page):
                assert (await page.join("input", [None, "en"])).status_code == 200
            await wait_until(lambda: site.memory.finished()[known] == LIMITS.events_per_page)
        assert site.memory.waiting_bytes(known) < LIMITS.waiting_bytes + 20_000
        assert "queue_full" in came(await page.events())
        assert (await other.join("input", [None, "en"])).status_code == 200


def noise() -> bytes:
    """A picture whose preview is large: 2 megapixels that no JPEG makes small."""
    pixels = np.random.default_rng(1).integers(0, 255, (1100, 1500, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=60)
    return out.getvalue()


def ask(client: httpx.Client, data: bytes, word: str) -> Any:
    """Whether the server took a picture and an event that shows it."""
    upload = client.post("/page/uploads", content=data)
    if upload.status_code != 200:
        return False
    events = client.get("/config").json()["dependencies"]
    number = next(event["id"] for event in events if event["targets"][0][1] == "picked")
    event = {"data": [None, "en"], "event_data": upload.json(), "fn_index": number, "session_hash": word}
    return client.post("/gradio_api/queue/join", json=event).status_code == 200


def test_the_memory_of_the_process_stays_within_the_documented_bound(tmp_path: Path) -> None:
    """The bound: four times `images.max_bytes` for uploads on their way, as much for what is shown, and 30 MB for the work."""
    largest, pages, data, served = 2_000_000, 36, noise(), 0
    settings = {
        "security": {"allow_anonymous": True},
        "images": {"max_bytes": largest},
        "network": {"requests_per_minute_per_ip": 0, "requests_per_minute_per_key": 0},
    }
    program = (sys.executable, "-m", "tests.attacks.page_program", str(tmp_path), json.dumps(settings))
    with appliance(program=program, HUNYUANOCR_DATA=str(tmp_path / "data")) as running, ExitStack() as stack:
        running.until_ready()
        client = stack.enter_context(httpx.Client(base_url=running.page, timeout=30))
        process = psutil.Process(running.process.pid)
        for n in range(pages):
            if n == 6:
                before = process.memory_info().rss  # what the first ones need is the program's own
            if ask(client, data, f"page{n}"):
                served += 1
                if n % 8:  # the others do not even open a stream
                    stack.enter_context(stalled(running.page, f"page{n}"))
        time.sleep(0.5)
        grown = process.memory_info().rss - before
        assert httpx.get(f"{running.api}/health", timeout=5).status_code == 200
    assert served > 20
    assert grown < 8 * largest + 30e6, f"{grown / 1e6:.0f} MB for {served} pages"


def stalled(base: str, word: str) -> socket.socket:
    """A stream of results that is opened and never read."""
    host, port = base.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(f"GET /gradio_api/queue/data?session_hash={word} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return connection
