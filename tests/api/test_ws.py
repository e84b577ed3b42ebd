"""Cameras over real sockets: the client that shops use, both forms of frames, resuming, bad input, slow and silent clients."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection

from api.app import create_app
from api.camera_connection import MAX_QUEUED, OutgoingQueue
from api.camera_protocol import TASK_KEYS, ClientMessageType, ServerMessageType, Status
from hunyuanocr.config import CameraSettings
from hunyuanocr.loadtest.receipts import draw_text
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.camera import FrameDelta, FrameSkipped, SkipReason
from hunyuanocr.types import Reading, TextDelta
from tests.api.conftest import quick_settings, served, wait_ready
from tests.services.camera.test_camera import card
from tests.support.fake_backend import FakeBackend

SEED = Path(__file__).parents[3] / "shared" / "contracts" / "seed_clients.py"


class Reader(FakeBackend):
    """Writes two pieces of text; the gate between them is a thread's, for the server has a loop of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.opened.set()

    async def read(self, pages: Any, task: Any) -> AsyncIterator[TextDelta | Reading]:
        self.begun += 1
        try:
            yield TextDelta("one ")
            while not self.opened.is_set():
                await asyncio.sleep(0.005)
            yield TextDelta("two")
            yield Reading("one two")
            self.ended += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def base_url(reader: Reader) -> Iterator[str]:
    settings = quick_settings().model_copy(update={"camera": CameraSettings(max_bytes=100_000, connections=3)})
    with served(create_app(settings, Pipeline(reader, settings))) as base:
        wait_ready(base)
        yield base.replace("http://", "ws://")
        reader.opened.set()


class Client:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def frame(self, number: float, bars: int = 1, **more: Any) -> None:
        await self.send(frame_id=number, image=base64.b64encode(card(bars)).decode(), **{"timestamp": number, **more})

    async def binary(self, header: dict | bytes, picture: bytes) -> None:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        await self.socket.send(len(head).to_bytes(4, "big") + head + picture)

    async def next(self, *types: str) -> dict:
        """The next message, or the next of these types."""
        async with asyncio.timeout(60):
            while True:
                message = json.loads(await self.socket.recv())
                if not types or message["type"] in types:
                    return message

    async def answer(self) -> dict:
        return await self.next("answer", "error")


@asynccontextmanager
async def camera(base_url: str, query: str = "", path: str = "/v1/ws") -> AsyncIterator[Client]:
    async with websockets.connect(f"{base_url}{path}{query}", max_size=None, open_timeout=60) as socket:
        yield Client(socket)


@pytest.mark.parametrize("path", ["/v1/ws", "/ws/ocr"])
async def test_a_frame_is_answered_with_a_result_and_text_comes_before(base_url: str, reader: Reader, path: str) -> None:
    reader.opened.clear()
    async with camera(base_url, path=path) as client:
        await client.frame(7)
        assert await client.next() == {"type": "partial", "frame_id": 7, "text": "one "}
        reader.opened.set()
        answer = await client.answer()
        assert (answer["type"], answer["frame_id"], answer["status"], answer["unchanged"]) == ("answer", 7, "success", False)
        assert (answer["result"]["text"], answer["result"]["success"], answer["result"]["width"]) == ("one two", True, 160)
        await client.frame(8)
        again = await client.answer()
        assert (again["frame_id"], again["unchanged"], again["result"]) == (8, True, answer["result"])
        await client.frame(8.01)
        assert await client.answer() == {
            "type": "answer",
            "frame_id": 8.01,
            "status": "skipped",
            "skipped": True,
            "reason": "sampled",
        }


async def test_a_binary_frame_is_a_header_and_a_picture(base_url: str) -> None:
    async with camera(base_url) as client:
        await client.binary({"frame_id": "a", "timestamp": 1.5}, card(1))
        answer = await client.answer()
        assert (answer["frame_id"], answer["status"]) == ("a", "success")


async def test_a_binary_message_that_is_an_image_is_a_frame_with_a_counted_id(base_url: Any) -> None:
    async with camera(base_url, "?rate=15") as client:
        for number, bars in ((1, 1), (2, 3)):
            await client.socket.send(card(bars))
            answer = await client.answer()
            assert (answer["frame_id"], answer["status"]) == (number, "success")
            await asyncio.sleep(0.1)  # a frame sooner than the rate allows is skipped
        await client.binary({"frame_id": "own", "timestamp": 9}, card(2))
        assert (await client.answer())["frame_id"] == "own"
        await client.socket.send(b"\xff\xd8\xff broken")
        failed = await client.answer()
        assert (failed["frame_id"], failed["error"]["code"]) == (3, "unreadable_image")


async def test_a_timestamp_may_be_text(base_url: Any) -> None:
    async with camera(base_url) as client:
        for number, timestamp in enumerate((" 12.5", "2026-11-20T08:30:00Z", "2026-11-20T08:30:00.100+08:00", "1.7e9", "-3")):
            await client.frame(number, bars=number, timestamp=timestamp)
            assert (await client.answer())["frame_id"] == number


async def test_authentication_that_nobody_asked_for_is_accepted(base_url: Any) -> None:
    async with camera(base_url) as client:
        for message in ({"key": "any"}, {"ticket": "any"}, {}):
            await client.send(type="auth", **message)
            assert await client.next() == {"type": "authenticated", "owner": "local"}
        await client.frame(1)
        assert (await client.answer())["status"] == "success"


async def test_a_misspelled_option_is_reported(base_url: Any) -> None:
    async with camera(base_url, "?Instruction=total&v=3") as client:
        (warning,) = (await client.next("configured"))["warnings"]
        assert warning["code"] == "unknown_key"
        assert "'Instruction'" in warning["message"]
        assert "'instruction'" in warning["message"]
        await client.send(type="configure", feilds=["total"], rate=3)
        (warning,) = (await client.next("configured"))["warnings"]
        assert "'fields'" in warning["message"]
        await client.send(type="configure", rate=3, room=7)
        assert (await client.next("configured"))["warnings"] == []


async def test_the_task_can_be_set_and_changed(base_url: Any, reader: Any) -> None:
    async with camera(base_url, "?instruction=%E6%8F%90%E5%8F%96%E6%80%BB%E9%87%91%E9%A2%9D&rate=5") as client:
        configured = await client.next()
        assert (configured["type"], configured["task"], configured["fields"]) == ("configured", "extract", ["total_amount"])
        assert (configured["rate"], configured["session"], configured["resumed"]) == (5.0, None, False)
        await client.frame(0)
        assert set((await client.answer())["result"]["fields"]) == {"total_amount"}
        await client.send(fields=["shop"], rate=500)
        configured = await client.next()
        assert (configured["fields"], configured["rate"]) == (["shop"], 15.0)
        await client.frame(1)
        assert set((await client.answer())["result"]["fields"]) == {"shop"}
        await client.frame(2, instruction="date")  # a frame may ask as well, without another answer than its own
        assert set((await client.answer())["result"]["fields"]) == {"date"}
        await client.frame(3)
        assert (await client.answer())["unchanged"]
        await client.send(type="configure", partial=False)
        await client.next("configured")
        await client.frame(4, bars=5)
        assert (await client.next())["type"] == "answer"
    assert reader.begun == 4


async def test_a_ping_is_answered(base_url: str) -> None:
    async with camera(base_url) as client:
        await client.send(type="ping", timestamp=12.5)
        assert await client.next() == {"type": "pong", "timestamp": 12.5}
        await (await client.socket.ping())


def as_json(**message: Any) -> str:
    return json.dumps(message)


IMAGE = base64.b64encode(card(1)).decode()


@pytest.mark.parametrize(("message", "frame_id", "code"), [
    ("this is not JSON", None, "bad_request"),
    ("[1]", None, "bad_request"),
    ('{"frame_id": NaN}', None, "bad_request"),
    ("{}", None, "bad_request"),
    (as_json(type="dance"), None, "bad_request"),
    (as_json(image=IMAGE), None, "invalid_value"),
    (as_json(frame_id=None, image=IMAGE), None, "invalid_value"),
    (as_json(frame_id=True, image=IMAGE), None, "invalid_value"),
    (as_json(frame_id=[1], image=IMAGE), None, "invalid_value"),
    (as_json(frame_id="x" * 201, image=IMAGE), None, "invalid_value"),
    (as_json(frame_id=1), 1, "empty_input"),
    (as_json(frame_id=1, image=""), 1, "empty_input"),
    (as_json(frame_id=1, image=5), 1, "invalid_base64"),
    (as_json(frame_id=1, image="&&&"), 1, "invalid_base64"),
    (as_json(frame_id=1, image=base64.b64encode(b"no picture").decode()), 1, "unsupported_media_type"),
    (as_json(frame_id=1, image=base64.b64encode(b"\xff\xd8\xff broken").decode()), 1, "unreadable_image"),
    (as_json(frame_id=1, timestamp="now", image=IMAGE), 1, "invalid_value"),
    (as_json(frame_id=1, timestamp=True, image=IMAGE), 1, "invalid_value"),
    ('{"frame_id": 1, "timestamp": 1e999, "image": "' + IMAGE + '"}', 1, "invalid_value"),
    ('{"frame_id": 1, "timestamp": 1' + "0" * 400 + ', "image": "' + IMAGE + '"}', 1, "invalid_value"),
    (as_json(frame_id=1, image="A" * 200_000), 1, "image_too_large"),
    (as_json(frame_id=1, image=IMAGE, task="nonsense"), 1, "unknown_task"),
    (as_json(frame_id="\ud800", image="&&&"), "\ud800", "invalid_base64"),
    (as_json(type="configure", task="nonsense"), None, "unknown_task"),
    (as_json(type="configure", rate=0), None, "invalid_value"),
    (as_json(type="configure", session="short"), None, "invalid_value"),
    (b"", None, "bad_request"),
    (b"no image " * 9, None, "bad_request"),
    ('{"frame_id": 1e999, "image": "' + IMAGE + '"}', None, "invalid_value"),
    ('{"type": "ping", "timestamp": 1e999}', None, "invalid_value"),
    ('{"type": "ping", "timestamp": [-1e999]}', None, "invalid_value"),
    (as_json(frame_id=1, timestamp="nan", image=IMAGE), 1, "invalid_value"),
    (as_json(frame_id=1, timestamp="1e999", image=IMAGE), 1, "invalid_value"),
    (as_json(frame_id=1, timestamp="9" * 5000, image=IMAGE), 1, "invalid_value"),
    (b"\0\0\0\x02[]", None, "bad_request"),
    (b"\0\0\0\x0e{\"frame_id\":1}", 1, "empty_input"),
    (b"\0\0\0\x0e{\"frame_id\":1}" + bytes(100_001), 1, "image_too_large"),
])  # fmt: skip
async def test_bad_messages_get_an_error_and_the_connection_lives(
    base_url: str, message: str | bytes, frame_id: int | None, code: str
) -> None:
    async with camera(base_url) as client:
        await client.socket.send(message)
        failed = await client.next()
        assert (failed["status"], failed["frame_id"], failed["error"]["code"]) == ("failed", frame_id, code)
        assert failed["type"] == ("error" if frame_id is None else "answer")
        assert set(failed["error"]) == {"detail", "code", "hint", "request_id"}
        await client.frame(99)
        answer = await client.answer()
        assert (answer["frame_id"], answer["status"]) == (99, "success")


async def test_an_oversized_message_closes_the_connection(base_url: str) -> None:
    async with camera(base_url) as client:
        with suppress(websockets.ConnectionClosedError):  # it may hear of it while it sends
            await client.socket.send("x" * 2_000_000)
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.next()
        assert closed.value.rcvd.code == 1009


async def test_invalid_query_options_close_the_connection(base_url: str) -> None:
    async with camera(base_url, "?task=nonsense") as client:
        assert (await client.next())["error"]["code"] == "unknown_task"
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.next()
        assert closed.value.rcvd.code == 1008


async def test_too_many_cameras_get_try_again_later(base_url: str) -> None:
    async with camera(base_url), camera(base_url), camera(base_url) as third:
        await third.send(type="ping")
        await third.next()
        async with camera(base_url) as fourth:
            assert (await fourth.next())["error"]["code"] == "too_many_cameras"
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await fourth.next()
            assert closed.value.rcvd.code == 1013
    async with asyncio.timeout(60):
        while True:  # the server hears of the end of the three a moment later than they
            async with camera(base_url) as fifth:
                await fifth.frame(1)
                if (answer := await fifth.answer())["type"] == "answer":
                    break
    assert answer["status"] == "success"


async def test_a_session_is_resumed(base_url: str, reader: Reader) -> None:
    async with camera(base_url, "?session=till-4711&instruction=total") as client:
        await client.next("configured")
        await client.frame(1)
        first = await client.answer()
    async with camera(base_url, "?session=till-4711") as client:
        configured = await client.next("configured")
        assert (configured["resumed"], configured["fields"]) == (True, ["total_amount"])
        assert configured["last"] == first["result"]
        await client.frame(1)
        assert (await client.answer())["unchanged"]
        await client.send(type="configure", session="till-4712")
        assert (await client.next())["error"]["code"] == "invalid_value"
    async with camera(base_url) as client:
        await client.send(type="configure", session="till-4711")
        assert (await client.next("configured"))["resumed"]
    assert reader.begun == 1


async def test_a_disconnect_cancels_recognition(base_url: str, reader: Reader) -> None:
    reader.opened.clear()
    async with camera(base_url) as client:
        await client.frame(1)
        await client.next("partial")
    while not reader.cancelled:
        await asyncio.sleep(0.005)


class Slow:
    """A socket whose client reads only on request."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.sent: list[dict] = []

    async def send_text(self, text: str) -> None:
        await self.reads.wait()
        self.sent.append(json.loads(text))


async def test_a_client_that_does_not_read_is_not_read_from() -> None:
    """Its pieces of text become one, its answers wait within bounds, and when it reads again it gets every one of them."""
    slow = Slow()
    line = OutgoingQueue(cast(Any, slow))
    for word in ("a", "b", "c"):
        line.put(FrameDelta(1, word))
    for number in range(MAX_QUEUED):
        line.put(FrameSkipped(number, SkipReason.SAMPLED))
    room = asyncio.create_task(line.wait_for_capacity())
    done, _ = await asyncio.wait((room,), timeout=0.05)
    assert not done
    slow.reads.set()
    await room
    assert [m.get("text") for m in slow.sent if m["type"] == "partial"] == ["abc"]
    assert [m["frame_id"] for m in slow.sent if m["type"] == "answer"] == list(range(MAX_QUEUED))
    await line.wait_for_capacity()


def test_the_documentation_covers_every_message_type() -> None:
    """The tables of messages in docs/streaming.md, against the enumerations that the code speaks with."""
    page = (Path(__file__).parents[2] / "docs" / "streaming.md").read_text(encoding="utf-8")
    sends = page.split("### What a camera may send")[1].split("###")[0]
    gets = page.split("### What it gets")[1].split("###")[0]

    def column(table: str, number: int) -> list[str]:
        rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
        return [row[number].strip(" `") for row in rows][1:]

    assert set(column(sends, 1)) == set(ClientMessageType)
    assert set(column(gets, 1)) == set(ServerMessageType)
    assert set(column(gets, 2)) == {*Status, "–"}
    for word in (*SkipReason, *TASK_KEYS - {"prompt"}, "rate", "partial", "session"):
        assert f"`{word}`" in page
    settings = CameraSettings()
    for name, value in (("rate", "(15)"), ("vote_window", "(5)"), ("session_ttl_s", "(60)")):
        assert f"`camera.{name}`" in page
        assert value in page
        assert f"({getattr(settings, name):g})" == value


def test_plain_http_gets_upgrade_required(base_url: str) -> None:
    base = base_url.replace("ws://", "http://")
    answer = httpx.get(f"{base}/v1/ws", timeout=60)
    assert (answer.status_code, answer.json()["code"], answer.headers["upgrade"]) == (426, "upgrade_required", "websocket")
    described = httpx.get(f"{base}/openapi.json", timeout=60).json()["paths"]["/v1/ws"]["get"]["description"]
    for word in (*Status, *SkipReason, ServerMessageType.PARTIAL, "configure", "frame_id"):
        assert f"{word}" in described


@pytest.mark.skipif(not SEED.exists(), reason="the clients are not in this checkout")
def test_existing_clients_are_served(real: str, tmp_path: Path) -> None:
    (tmp_path / "receipt.jpg").write_bytes(draw_text(("CORNER SHOP", "TOTAL 36.80"), form="JPEG"))
    command = [sys.executable, str(SEED), real, str(tmp_path / "receipt.jpg"), "--ws", real.replace("http", "ws") + "/ws/ocr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "all served"
