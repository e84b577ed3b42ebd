"""A client that goes away frees its place: while it is read, while it waits, while it uploads. Over real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.types import Progress, Reading, TextDelta
from tests.api.conftest import quick_settings, served, wait_ready
from tests.support.fake_backend import FakeBackend, picture


class GateReader(FakeBackend):
    """Reads when the gate opens; the gate is a threading.Event, because the server runs its own loop."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Progress | Reading]:
        async for part in super().read(pages, task):
            while not self.opened.is_set():
                await asyncio.sleep(0.005)
            yield part


@pytest.fixture
def served_app() -> Iterator[tuple[str, GateReader, Pipeline]]:
    reader = GateReader()
    settings = quick_settings(queue_size=1)
    pipeline = Pipeline(reader, settings)
    with served(create_app(settings, pipeline)) as base:
        wait_ready(base)
        yield base, reader, pipeline
        reader.opened.set()


@pytest.fixture
def send(served_app: Any) -> Iterator[Callable[..., socket.socket]]:
    """`send(n)` posts picture n; the test holds the wire."""
    base = served_app[0]
    wires: list[socket.socket] = []

    def post(n: int, whole: bool = True) -> socket.socket:
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + picture(n) + b"\r\n--x--\r\n"
        head = f"POST /ocr HTTP/1.1\r\nHost: t\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}"
        host, port = base.removeprefix("http://").split(":")
        wires.append(socket.create_connection((host, int(port)), timeout=60))
        wires[-1].sendall(head.encode() + b"\r\n\r\n" + (body if whole else body[:50]))
        return wires[-1]

    yield post
    for wire in wires:
        wire.close()


def answer(wire: socket.socket) -> dict:
    data = b""
    while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < length(data):
        data += wire.recv(65536)
    return json.loads(data.split(b"\r\n\r\n", 1)[1])


def length(data: bytes) -> int:
    return int(data.lower().split(b"content-length:")[1].split(b"\r\n")[0])


def wait(condition: Any) -> None:
    while not condition():
        threading.Event().wait(0.005)


def test_a_disconnect_during_recognition_frees_the_slot(
    served_app: tuple[str, GateReader, Pipeline], send: Callable[..., socket.socket]
) -> None:
    base, reader, pipeline = served_app
    gone = send(1)
    wait(lambda: reader.now == 1)
    waiting = send(2)
    wait(lambda: pipeline.admission.waiting == 1)
    assert httpx.post(f"{base}/ocr", files={"file": picture(3)}, timeout=60).status_code == 429  # full
    gone.close()
    wait(lambda: reader.cancelled == 1 and pipeline.admission.waiting == 0)
    third = send(3)
    wait(lambda: pipeline.admission.waiting == 1)
    reader.opened.set()
    assert answer(waiting)["text"] == "#022030"
    assert answer(third)["text"] == "#032030"


def test_a_disconnect_in_the_queue_frees_the_slot(
    served_app: tuple[str, GateReader, Pipeline], send: Callable[..., socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    _, reader, pipeline = served_app
    read = send(1)
    wait(lambda: reader.now == 1)
    with caplog.at_level(logging.INFO, "hunyuanocr.access"):
        gone = send(2)
        wait(lambda: pipeline.admission.waiting == 1)
        gone.close()
        wait(lambda: "POST /ocr 499" in caplog.text)
    assert pipeline.admission.waiting == 0
    waiting = send(3)
    wait(lambda: pipeline.admission.waiting == 1)
    reader.opened.set()
    assert answer(read)["text"] == "#012030"
    assert answer(waiting)["text"] == "#032030"
    assert reader.begun == 2  # the one that left was never read


def test_a_disconnect_during_the_upload_leaves_nothing(
    served_app: tuple[str, GateReader, Pipeline], send: Callable[..., socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    base, reader, pipeline = served_app
    with caplog.at_level(logging.INFO, "hunyuanocr.access"):
        send(1, whole=False).close()
        wait(lambda: "POST /ocr 499" in caplog.text)
    assert reader.begun == 0
    assert not pipeline.timings
    assert "Traceback" not in caplog.text
    reader.opened.set()
    assert httpx.post(f"{base}/ocr", files={"file": picture(3)}, timeout=60).status_code == 200


def test_a_full_queue_has_retry_after(served_app: tuple[str, GateReader, Pipeline], send: Callable[..., socket.socket]) -> None:
    base, reader, pipeline = served_app
    wires = [send(1)]
    wait(lambda: reader.now == 1)
    wires.append(send(2))
    wait(lambda: pipeline.admission.waiting == 1)
    r = httpx.post(f"{base}/ocr", files={"file": picture(3)}, timeout=60)
    assert (r.status_code, r.json()["code"]) == (429, "queue_full")
    assert int(r.headers["retry-after"]) >= 1
    reader.opened.set()
    assert [answer(w)["text"] for w in wires] == ["#012030", "#022030"]
