"""Bombs and floods: others are answered, and what the box takes of memory is bounded. The server is a process of its own."""

from __future__ import annotations

import asyncio
import io
import json
import selectors
import socket
import sys
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from typing import Any

import httpx
import psutil
import pytest

from tests.api.network.conftest import Child, child
from tests.attacks.hostile import CATALOGUE, pdf
from tests.support.fake_backend import picture
from tests.test_images import bomb_png

MB = 1_000_000
PIECE = memoryview(bytes(64 * 1024))
PNG = b"\x89PNG\r\n\x1a\n"


class Peak(threading.Thread):
    """The most memory that a process has had, and whether it answered all the while."""

    def __init__(self, running: Child) -> None:
        super().__init__(daemon=True)
        self.running, self.before, self.most, self.over = running, running.rss, running.rss, threading.Event()
        self.answers: list[Any] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.running.base, timeout=60) as other:
            while True:
                self.most = max(self.most, self.running.rss)
                if len(self.answers) < 200:
                    self.answers.append(other.post("/ocr", files={"file": picture()}).status_code)
                if self.over.wait(0.02):
                    break

    def __str__(self) -> str:
        return f"{self.before / MB:.0f} MB before, {self.most / MB:.0f} MB at the peak, {len(self.answers)} others answered"

    @property
    def grown(self) -> Any:
        return (self.most - self.before) / MB


@contextmanager
def watched(running: Child) -> Iterator[Peak]:
    peak = Peak(running)
    peak.start()
    try:
        yield peak
    finally:
        peak.over.set()
        peak.join(90)
    assert set(peak.answers) == {200}, "others were answered"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    with child(
        tmp_path_factory.mktemp("data"),
        HUNYUANOCR_JOBS__BATCH_MB="60",
        HUNYUANOCR_IMAGES__MAX_BYTES=str(16 * MB),
        HUNYUANOCR_NETWORK__UPLOAD_MEMORY_MB="1",  # the least that there may be: twice a batch
    ) as started:
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


def test_zip_bombs(running: Child) -> None:
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
    return pdf([*CATALOGUE, leaf, stream])


@pytest.mark.parametrize(("bomb", "answers"), [
    (lambda: packed_page(b"q Q " * (10 * MB)), {200, 400, 413, 504}),  # 40 MB of nothing in 300 bytes
    (lambda: packed_page(b"q Q\n", b"2000000 2000000"), {200, 413}),
    (lambda: bomb_png(50_000, 50_000), {413}),
    (lambda: bomb_png(65_000, 1_500), {400, 413}),
], ids=["content", "paper", "png", "wide png"])  # fmt: skip
def test_document_bombs(running: Child, bomb: Any, answers: set[int]) -> None:
    bomb = bomb()
    assert len(bomb) < MB
    with watched(running) as peak, from_("127.0.0.2") as client:
        r = client.post(f"{running.base}/ocr", files={"file": bomb})
        assert r.status_code in answers, r.text
    assert peak.grown < 600, "MB"


class Upload:
    """A picture of `size` bytes on its way, up to its last 100 bytes. It listens while it sends."""

    def __init__(self, port: int, source: str, size: int) -> None:
        head = f"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size + 100}\r\n\r\n"
        self.left, self.answer = size, ""
        self.socket = socket.create_connection(("127.0.0.1", port), 60, (source, 0))
        self.socket.sendall(head.encode())
        self.socket.setblocking(False)

    def send(self) -> None:
        """As much as goes at once, but not so much that others wait."""
        try:
            self.left -= self.socket.send(PIECE[: self.left])
        except BlockingIOError:
            pass
        except ConnectionError:
            self.hear()  # what was said before it was hung up

    def hear(self) -> None:
        """The answer, or that there is none."""
        self.socket.settimeout(60)
        try:
            answer = HTTPResponse(self.socket)
            answer.begin()
            code = json.loads(answer.read())["code"]
            self.answer = f"{answer.status} {code}" + (", later" if int(answer.headers.get("retry-after", 0)) else "")
        except (ConnectionError, HTTPException) as e:
            self.answer = f"nothing: {type(e).__name__}"

    def finish(self) -> None:
        """The last 100 bytes, and the answer."""
        self.socket.settimeout(60)
        with suppress(ConnectionError):  # what was said before it was hung up
            self.socket.sendall(bytes(100))
        self.hear()


def flood(uploads: list[Upload]) -> list[Upload]:
    """Send all of them at the same time, until each has been answered or only its end is missing; those whose end is missing."""
    with selectors.DefaultSelector() as selector:
        for upload in uploads:
            selector.register(upload.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, upload)
        quiet = 0
        while selector.get_map() and quiet < 2:
            events = selector.select(1.0)
            quiet = quiet + 1 if not events and not any(key.data.left for key in selector.get_map().values()) else 0
            for key, mask in events:
                upload = key.data
                if mask & selectors.EVENT_READ:
                    upload.hear()
                else:
                    upload.send()
                if upload.answer:
                    selector.unregister(upload.socket)
                elif not upload.left:
                    selector.modify(upload.socket, selectors.EVENT_READ, upload)
        return [key.data for key in selector.get_map().values()]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_uploads_of_the_size_limit_at_the_same_time(running: Child, count: int) -> None:
    """Half of the budget, 61 MB, is for one address, and 123 MB for all: room for six, two of each address. They are taken, and
    each of the others hears that it is to come back; nobody is hung up on without a word.
    """
    size = 20 << 20
    with watched(running) as peak, ExitStack() as stack:
        uploads = [Upload(running.port, f"127.0.{1 + n % 8}.1", size) for n in range(count)]
        for upload in uploads:
            stack.enter_context(upload.socket)
        for upload in flood(uploads):
            upload.finish()
        reported = Counter(upload.answer for upload in uploads)
    sys.stdout.write(f"{count} uploads of {size / MB:.0f} MB: {dict(reported)}; {peak}\n")
    taken = reported["400 bad_request"]  # it is no JSON, as is found once all of it is there
    assert 1 <= taken <= 6
    assert reported == {"429 uploads_full, later": count - taken, "400 bad_request": taken}
    assert peak.grown < 400, "MB"
    httpx.post(f"{running.base}/ocr", files={"file": picture()}, timeout=60).raise_for_status()
    assert psutil.pid_exists(running.process.pid)


def test_one_address_cannot_use_the_whole_budget(running: Child) -> None:
    """As much as it may hold, held; then a picture from the same address, and one from another."""
    size = 10 << 20
    head = f"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size + 100}\r\n\r\n".encode()

    async def hold() -> Any:
        writers = []
        for _ in range(6):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port, local_addr=("127.0.0.3", 0))
            writer.write(head + bytes(size))
            await writer.drain()
            writers.append(writer)

        def ask(address: Any) -> httpx.Response:
            with from_(address) as client:
                return client.post(f"{running.base}/ocr", files={"file": picture() + bytes(12 * MB)})

        async with asyncio.timeout(120):
            while (mine := await asyncio.to_thread(ask, "127.0.0.3")).status_code == 200:
                pass  # the server has not yet read what was sent
        other = await asyncio.to_thread(ask, "127.0.0.4")
        for writer in writers:
            writer.transport.abort()
        return mine, other

    mine, other = asyncio.run(hold())
    assert (mine.status_code, mine.json()["code"]) == (429, "uploads_full")
    assert int(mine.headers["retry-after"]) >= 1
    assert other.status_code == 200
