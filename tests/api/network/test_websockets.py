"""Sockets that have not said who they are: there is room for a key, and for nothing else. The server is in a thread."""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from api.app import create_app
from api.auth.authenticator import SocketLimits
from hunyuanocr.config import NetworkSettings, PipelineSettings, SecuritySettings, Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.api_keys import Scope
from tests.api.auth.conftest import RunningApp
from tests.api.conftest import served, wait_ready
from tests.api.network.test_fuzz import SHAKE
from tests.support.fake_backend import FakeBackend, picture

LARGE = 4_000_000  # bytes
TOO_BIG = 1009  # RFC 6455, 7.4.1
FRAME = json.dumps({"frame_id": 1, "timestamp": 0, "image": base64.b64encode(picture() + bytes(LARGE)).decode()})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An app that asks for keys, the address of its sockets, and a key of a camera."""
    settings = Settings(
        data=tmp_path_factory.mktemp("data"),
        security=SecuritySettings(require_auth_on_loopback=True),
        pipeline=PipelineSettings(cache_mb=0),
        network=NetworkSettings(auth_failures_per_minute=0),
    )
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    with served(app) as base:
        wait_ready(base)
        yield app, base.replace("http", "ws") + "/v1/ws", RunningApp(app).key("camera", [Scope.SUBMIT])


def closed(camera: ClientConnection) -> int:
    """The code with which the server has ended it."""
    with pytest.raises(ConnectionClosed) as end:
        deque(iter(lambda: camera.recv(60), None), maxlen=0)
    assert end.value.rcvd is not None, "the line was cut without a word"
    return end.value.rcvd.code


def answered(camera: ClientConnection) -> dict:
    """The next answer to a frame."""
    while (answer := json.loads(camera.recv(60)))["type"] != "answer":
        pass
    return answer


def pieces(text: str, size: int) -> list[str]:
    return [text[n : n + size] for n in range(0, len(text), size)]


@pytest.mark.parametrize(
    "message",
    [
        FRAME,
        FRAME.encode(),
        pieces(FRAME, 10_000),
        json.dumps({"type": "auth", "key": "x" * 200_000}),
    ],
    ids=["text", "binary", "fragments", "key"],
)
def test_a_large_message_before_the_key_ends_the_connection(shop: Any, message: str | bytes | list[str]) -> None:
    app, url, _ = shop
    with connect(url, open_timeout=60, max_size=None) as camera:
        with suppress(ConnectionClosed):
            camera.send(message)
        assert closed(camera) == TOO_BIG
    while app.state.authenticator.pending_sockets:  # the server hears of the end a moment later than we
        time.sleep(0.01)


def test_an_oversized_message_is_stopped_early(shop: Any) -> None:
    """The head of a frame of 8 MB, and then a piece now and then: each hears why, and nobody waits for the rest or keeps it."""
    app, url, _ = shop
    port = int(url.split(":")[2].split("/")[0])
    sent, most = 0, 0
    with ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(SocketLimits.pending_per_client)
        ]
        for camera in made:
            camera.sendall(SHAKE)
            assert camera.recv(4096).startswith(b"HTTP/1.1 101")
            camera.sendall(b"\x81\xff" + (8_000_000).to_bytes(8, "big") + os.urandom(4))
        going = list(made)
        while going and sent < SocketLimits.pending_per_client * 1_000_000:
            time.sleep(0.05)
            for camera in select.select(going, [], [], 0)[0]:
                assert TOO_BIG.to_bytes(2, "big") in camera.recv(4096)
                going.remove(camera)
            sent += sum(camera.send(bytes(8000)) for camera in going)
            most = max(most, app.state.network.budget.held)
    assert not going, "they are still read from"
    assert 0 < most <= SocketLimits.pending_per_client * 64 * 1024


@pytest.fixture
def raw(shop: Any) -> Iterator[socket.socket]:
    """A socket of which nothing is read but the handshake's answer: a client that listens when it has said everything."""
    port = int(shop[1].split(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), 60) as camera:
        camera.sendall(SHAKE)
        assert camera.recv(4096).startswith(b"HTTP/1.1 101")
        yield camera


def test_a_client_that_reads_last_receives_the_error(raw: socket.socket) -> None:
    """More than the buffers of both systems hold, so that a server that closed at once would reset the line while it sends."""
    raw.sendall(b"\x81\xff" + (16_000_000).to_bytes(8, "big") + bytes(4) + bytes(16_000_000))
    assert TOO_BIG.to_bytes(2, "big") in raw.recv(4096)
    assert raw.recv(1) == b"", "and that is the end"


def test_endless_sending_is_disconnected(raw: socket.socket, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    network = shop[0].state.network
    monkeypatch.setattr(network, "drain_timeout_s", 0.5)
    monkeypatch.setattr(network, "quiet_period_s", 0.2)
    raw.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
    began = time.monotonic()
    with suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < began + 20:
            raw.sendall(bytes(10_000))
    assert 0.5 < time.monotonic() - began < 15


def test_an_image_directly_after_the_key(shop: Any) -> None:
    """A client that does not wait for the answer to its key is served: both arrive in one packet, as far as that goes."""
    _, url, key = shop
    auth, frame = (Frame(Opcode.TEXT, text.encode()) for text in (json.dumps({"type": "auth", "key": key}), FRAME))
    with connect(url, open_timeout=60, max_size=None) as camera:
        camera.socket.sendall(b"".join(part.serialize(mask=True) for part in (auth, frame)))
        assert json.loads(camera.recv(60))["type"] == "authenticated"
        assert answered(camera)["status"] == "success"


def test_authenticated_clients_can_send_images(shop: Any) -> None:
    """In a header, with a large first message; in the first message, which comes in fragments; and after a ping."""
    _, url, key = shop
    with connect(url, open_timeout=60, max_size=None, additional_headers={"X-API-Key": key}) as camera:
        camera.send(FRAME)
        assert answered(camera)["status"] == "success"
    with connect(url, open_timeout=60, max_size=None) as camera:
        camera.ping().wait(60)
        camera.send(pieces(json.dumps({"type": "auth", "key": key}), 7))
        assert json.loads(camera.recv(60))["type"] == "authenticated"
        camera.send(pieces(FRAME, 10_000))
        assert answered(camera)["status"] == "success"


def test_invalid_utf8_is_a_client_error(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    _, url, _ = shop
    with connect(url, open_timeout=60) as camera:
        camera.socket.sendall(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))
        assert closed(camera) == 1007
    assert "Traceback" not in caplog.text
