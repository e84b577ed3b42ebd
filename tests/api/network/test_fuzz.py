"""Pictures and frames that are damaged at random: no crash, no 5xx, no growing memory, and the next one is served."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from PIL import Image
from websockets.asyncio.client import connect

from api.app import create_app
from hunyuanocr.config import ImageSettings, NetworkSettings, PipelineSettings, Settings
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.images import ImageDecoder
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend, picture
from tests.test_images import encode

FORMS = ("JPEG", "PNG", "BMP", "GIF", "WebP", "TIFF", "PDF", "HEIC")
ODD = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00")
CLOSED = {code.to_bytes(2, "big") for code in (1000, 1001, 1002, 1007, 1009)}  # RFC 6455, 7.4.1: what the client did wrong
LIMITS = ImageSettings(max_pixels=1_000_000, max_pages=3, max_bytes=1_000_000)


def seeds() -> list[bytes]:
    image = Image.effect_noise((64, 48), 60).convert("RGB")
    return [encode(image, form) for form in FORMS]


def damaged(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 2, 4, 16, 64))):
        at = rng.randrange(len(out))
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at : at + 4] = rng.choice(ODD)
            case 2:
                del out[at : at + rng.randrange(1, 40)]
            case 3:
                out[at:at] = out[rng.randrange(len(out)) :][: rng.randrange(1, 200)]
            case 4:
                out[at] = rng.randrange(256)
        out = out or bytearray(b"\xff")
    return bytes(out[: rng.randrange(1, len(out) + 1)] if rng.random() < 0.1 else out)


def rss() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_damaged_images_are_read_or_rejected(count: int) -> None:
    rng, made = random.Random(5), seeds()
    opened, refused, grown = 0, 0, []
    with ImageDecoder(LIMITS) as decoder:
        for n in range(count):
            try:
                opened += all(page.pixels.size for page in decoder.open_pages(damaged(rng, made[n % len(made)])))
            except HunyuanOcrError:  # any other ends the test
                refused += 1
            if n % (count // 10) == 0:
                grown.append(rss())
    assert min(opened, refused) > count // 10, "some of both"
    assert grown[-1] - grown[4] < 30_000_000, grown


def frame(rng: random.Random, n: int) -> str | bytes:
    """A message of a camera, mostly wrong in one place."""
    image = base64.b64encode(picture(n % 256)).decode()
    message = {"frame_id": n, "timestamp": n / 10, "image": image, "instruction": "提取总金额"}
    wild = [None, True, -1, 1e308, "", "x" * 300, [], [[]], {}, {"a": {}}, "\x00", "😀", 2**70, float("nan"), "9" * 5000]
    kind = rng.randrange(6)
    if kind == 0:
        message[rng.choice([*message, "type", "rate", "session", "schema", "fields", "task", "partial"])] = rng.choice(wild)
        return json.dumps(message)
    if kind == 1:
        return damaged(rng, json.dumps(message).encode()).decode("utf-8", "replace")
    if kind == 2:
        header = json.dumps({"frame_id": n}).encode()
        return damaged(rng, struct.pack(">I", len(header)) + header + picture(n % 256))
    if kind == 3:
        return rng.randbytes(rng.randrange(0, 300))
    if kind == 4:
        return json.dumps(rng.choice(wild))
    return json.dumps(message)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An app and the port of its server, which waits four seconds for a head."""
    settings = Settings(
        data=tmp_path_factory.mktemp("data"),
        images=LIMITS,
        pipeline=PipelineSettings(cache_mb=0),
        network=NetworkSettings(requests_per_minute_per_ip=0, auth_failures_per_minute=0, header_timeout_s=4),
    )
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    with served(app) as base:
        wait_ready(base)
        yield app, int(base.rsplit(":", 1)[1])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [600, pytest.param(10_000, marks=pytest.mark.long)])
async def test_damaged_messages_are_answered(shop: Any, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """One connection takes all of them: an error of one is reported, and the next one is served."""
    rng, answers, grown = random.Random(6), 0, []
    _, port = shop
    patient: dict[str, Any] = {
        "max_size": None,
        "open_timeout": 60,
        "ping_interval": None,
    }  # its pings stand in line behind its messages
    async with connect(f"ws://127.0.0.1:{port}/v1/ws?instruction=read", **patient) as camera:

        async def listen() -> None:
            nonlocal answers
            async for message in camera:
                answer = json.loads(message)
                assert answer.get("error", {}).get("code") != "internal_error", answer
                answers += 1

        listening = asyncio.create_task(listen())
        for n in range(count):
            await camera.send(frame(rng, n))
            if n % (count // 10) == 0:
                grown.append(rss())
        async with asyncio.timeout(900):
            await camera.send('{"type": "ping"}')
            while answers < count // 2:
                await asyncio.sleep(0.05)
        listening.cancel()
    assert grown[-1] - grown[4] < 30_000_000, grown
    assert "Traceback" not in caplog.text


SHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PING = b"\x81\x90" + bytes(4) + b'{"type": "ping"}'  # a text frame; the mask is nothing


def wire(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    """What a client sends at first, and after the server's head: one of the two is damaged."""
    if n % 3 == 0:
        return damaged(rng, SHAKE), PING
    return SHAKE, damaged(rng, PING * rng.randrange(1, 5))


async def said(port: int, shake: bytes, frames: bytes) -> tuple[bytes, bytes]:
    """The head of the server's answer, and what it says after it until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = rest = b""
    try:
        writer.write(shake)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(frames)
        writer.write_eof()
        rest = await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        pass  # it hangs up, which is an answer as well
    finally:
        writer.transport.abort()
    return head, rest


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
async def test_damaged_websocket_frames(shop: Any, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes below the messages: handshakes and frames cut, flipped and repeated, each on a connection of its own. Each is
    answered or hung up on in time, and nothing of it stays behind.
    """
    app, port = shop
    cases = iter([wire(rng, n) for rng in [random.Random(7)] for n in range(count)])
    heads: Counter[bytes] = Counter()
    rests: Counter[str] = Counter()
    grown = []

    async def client() -> None:
        for case in cases:
            async with asyncio.timeout(120):
                head, rest = await said(port, *case)
            heads[head[9:12]] += 1
            if head.startswith(b"HTTP/1.1 101"):
                rests["pong"] += b'"pong"' in rest
                rests["error"] += b'"error"' in rest
                rests["closed"] += rest.rpartition(b"\x88")[2][1:3] in CLOSED
            if sum(heads.values()) % (count // 10) == 0:
                grown.append(rss())

    await asyncio.gather(*(client() for _ in range(32)))
    assert sum(heads.values()) == count
    assert heads.keys() <= {b"101", b"200", b"400", b"403", b"404", b"405", b"426", b""}, heads
    assert min(heads[b"101"], heads[b"400"], *rests.values()) > count // 50, (heads, rests)
    assert grown[-1] - grown[4] < 30_000_000, grown
    assert "Traceback" not in caplog.text
    async with asyncio.timeout(120):
        async with connect(f"ws://127.0.0.1:{port}/v1/ws", open_timeout=60) as camera:
            await camera.send('{"type": "ping"}')
            assert "pong" in await camera.recv()
        network = app.state.network
        while network.connections.open or network.budget.held:
            await asyncio.sleep(0.05)
