"""Bombs and floods: others are answered, and what the box takes of memory is bounded. The server is a process of its own."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
import zipfile
import zlib
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.api.network.conftest import child
from tests.readers import picture
from tests.test_images import PDF_OBJECTS, bomb_png, pdf

MB = 1_000_000
PNG = b"\x89PNG\r\n\x1a\n"


class Peak(threading.Thread):
    """The most memory that a process has had, and whether it answered all the while."""

    def __init__(self, running):
        super().__init__(daemon=True)
        self.running, self.before, self.most, self.over = running, running.rss, running.rss, threading.Event()
        self.answers = []

    def run(self):
        with httpx.Client(base_url=self.running.base, timeout=60) as other:
            while True:
                self.most = max(self.most, self.running.rss)
                if len(self.answers) < 200:
                    self.answers.append(other.post("/ocr", files={"file": picture()}).status_code)
                if self.over.wait(0.02):
                    break

    @property
    def grown(self):
        return (self.most - self.before) / MB


@contextmanager
def watched(running):
    peak = Peak(running)
    peak.start()
    try:
        yield peak
    finally:
        peak.over.set()
        peak.join(90)
    assert set(peak.answers) == {200}, "others were answered"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with child(
        tmp_path_factory.mktemp("data"), HUNYUANOCR_JOBS__BATCH_MB="60", HUNYUANOCR_IMAGES__MAX_BYTES=str(16 * MB),
        HUNYUANOCR_NETWORK__UPLOADS_MB="1",  # the least that there may be: twice a batch
    ) as started:  # fmt: skip
        httpx.post(f"{started.base}/ocr", files={"file": picture()}, timeout=60)
        yield started


def from_(address: str) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=120)


def zip_bomb(entries: int, size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(entries):
            archive.writestr(f"{n}.png", PNG + bytes(size - len(PNG)))
    return out.getvalue()


def test_zip_bombs(running):
    wide, tall = zip_bomb(12, 15 * MB), zip_bomb(1, 400 * MB)
    assert len(wide) + len(tall) < MB
    with watched(running) as peak, from_("127.0.0.2") as client:
        r = client.post(f"{running.base}/v1/batch", files={"file": ("a.zip", wide)})
        assert (r.status_code, r.json()["code"]) == (413, "batch_too_large")
        r = client.post(f"{running.base}/v1/batch", files={"file": ("a.zip", tall)})
        assert r.json()["total"] == 1
        job = client.get(f"{running.base}/v1/batch/{r.json()['id']}/results").json()
        assert job["error"]["code"] == "image_too_large"
        r = client.post(f"{running.base}/ocr", files={"file": wide})
        assert r.status_code == 415
    assert peak.grown < 250, "MB"


def packed_page(content: bytes, size: bytes = b"612 792") -> bytes:
    """A PDF whose one page is painted by `content`, which is packed twice."""
    packed = zlib.compress(zlib.compress(content, 9), 9)
    stream = b"<</Length %d/Filter[/FlateDecode/FlateDecode]>>stream\n%s\nendstream" % (len(packed), packed)
    leaf = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s]/Contents 4 0 R>>" % size
    return pdf([*PDF_OBJECTS, leaf, stream], b"")


@pytest.mark.parametrize(("bomb", "answers"), [
    (lambda: packed_page(b"q Q " * (10 * MB)), {200, 400, 413, 504}),  # 40 MB of nothing in 300 bytes
    (lambda: packed_page(b"q Q\n", b"2000000 2000000"), {200, 413}),
    (lambda: bomb_png(50_000, 50_000), {413}),
    (lambda: bomb_png(65_000, 1_500), {400, 413}),
], ids=["content", "paper", "png", "wide png"])  # fmt: skip
def test_document_bombs(running, bomb, answers):
    bomb = bomb()
    assert len(bomb) < MB
    with watched(running) as peak, from_("127.0.0.2") as client:
        r = client.post(f"{running.base}/ocr", files={"file": bomb})
        assert r.status_code in answers, r.text
    assert peak.grown < 600, "MB"


async def flood(port: int, count: int, size: int, *, wait: float) -> list[bytes]:
    """`count` uploads at the same time, from several addresses, each of which stops before its end and waits."""
    piece = bytes(1 << 20)
    head = f"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size + 100}\r\n\r\n".encode()

    async def one(n: int) -> bytes:
        source = (f"127.0.{1 + n % 8}.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
        try:
            writer.write(head)
            for _ in range(size >> 20):
                writer.write(piece)
                await writer.drain()
                if reader._buffer:  # it has been answered: enough
                    break
            async with asyncio.timeout(wait):
                return await reader.read(100)
        except (TimeoutError, ConnectionError):
            return b""
        finally:
            writer.transport.abort()

    return await asyncio.gather(*(one(n) for n in range(count)))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.long)])
async def test_uploads_of_the_size_limit_at_the_same_time(running, count):
    """60 × 20 MB are 1.2 GB; half of the budget, 65 MB, is for one address, and 130 MB for all."""
    with watched(running) as peak:
        answers = await flood(running.port, count, 20 << 20, wait=5)
        refused = sum(answer.startswith(b"HTTP/1.1 429") for answer in answers)
        assert refused > 20  # others are hung up on while they still send
    sys.stdout.write(f"{count} uploads, {refused} refused: {peak.grown:.0f} MB more at the peak\n")
    assert peak.grown < 400, "MB"
    end = time.monotonic() + 60
    while httpx.post(f"{running.base}/ocr", files={"file": picture()}, timeout=60).status_code != 200:
        assert time.monotonic() < end
    assert psutil.pid_exists(running.process.pid)


def test_one_address_cannot_take_it_all(running):
    """As much as it may hold, held; then a picture from the same address, and one from another."""
    size = 10 << 20
    head = f"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size + 100}\r\n\r\n".encode()

    async def hold():
        writers = []
        for _ in range(6):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port, local_addr=("127.0.0.3", 0))
            writer.write(head + bytes(size))
            await writer.drain()
            writers.append(writer)
        await asyncio.sleep(1)

        def ask(address):
            with from_(address) as client:
                return client.post(f"{running.base}/ocr", files={"file": picture() + bytes(12 * MB)})

        mine, other = await asyncio.to_thread(ask, "127.0.0.3"), await asyncio.to_thread(ask, "127.0.0.4")
        for writer in writers:
            writer.transport.abort()
        return mine, other

    mine, other = asyncio.run(hold())
    assert (mine.status_code, mine.json()["code"]) == (429, "uploads_full")
    assert int(mine.headers["retry-after"]) >= 1
    assert other.status_code == 200
