"""Slow clients, by the hundred: they are given up, and nobody waits for them. The server is a process of its own."""

from __future__ import annotations

import base64
import json
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from api.app import create_app
from hunyuanocr.config import NetworkSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.api.network.conftest import Child, child
from tests.support.fake_backend import FakeBackend, picture

HALF_A_HEAD = b"POST /ocr HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_A_BODY = (
    b"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000000\r\n\r\n" + b'{"image": "'
)
HURRY = {"HUNYUANOCR_NETWORK__HEADER_TIMEOUT_S": "3", "HUNYUANOCR_NETWORK__CONNECTIONS_PER_ADDRESS": "2000"}


@pytest.fixture(scope="module")
def many_files() -> Iterator[None]:
    """As many sockets as the system grants, here and in the server: a shell's own limit is 1,024 on many systems."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory, many_files: Any) -> Iterator[Child]:
    """A server that waits three seconds for a head."""
    with child(tmp_path_factory.mktemp("data"), **HURRY) as running:
        yield running


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A server as it comes."""
    with child(tmp_path_factory.mktemp("data")) as running:
        yield running


@contextmanager
def opened(port: int, first: bytes, count: int = 1, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60, (source, 0)))
            connection.sendall(first)
            made.append(connection)
        yield made


def hung_up(connection: socket.socket) -> bool:
    """Wait until the other side has closed it."""
    connection.settimeout(90)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def heard(connection: socket.socket) -> bytes:
    """All that the other side says until it hangs up."""
    connection.settimeout(90)
    said = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            said += part
    return said


def dribble(connection: socket.socket) -> None:
    """100 bytes a second, until the other side has had enough of it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            connection.sendall(b"A" * 10)
        except ConnectionError:
            return
        time.sleep(0.1)
    raise AssertionError("nobody minds")


def read(base: str) -> int:
    return httpx.post(f"{base}/ocr", files={"file": picture()}, timeout=60).status_code


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [500, pytest.param(1500, marks=pytest.mark.long)])
def test_slow_headers_time_out(hurried: Child, count: int) -> None:
    running, before = hurried, hurried.rss
    with opened(running.port, HALF_A_HEAD, count) as slow:
        held = running.connections()
        assert [read(running.base) for _ in range(5)] == [200] * 5
        grown = (running.rss - before) / 1e6
        for connection in slow[::50]:
            try:
                connection.sendall(b"x")  # a byte now and then buys no time
            except ConnectionError:
                continue
        assert {heard(connection) for connection in slow} == {b""}, "each had its time; none was refused"
        assert read(running.base) == 200
    sys.stdout.write(f"{count} slow heads, {held} of them at the same time: {grown:.0f} MB more\n")
    assert held > count // 10
    assert grown < 20 + count / 10, "MB"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("count", [100, pytest.param(500, marks=pytest.mark.long)])
def test_slow_bodies_time_out(hurried: Child, count: int) -> None:
    """After the grace of 20 seconds, which the ordinary test does not wait for."""
    running, before = hurried, hurried.rss
    with opened(running.port, HALF_A_BODY, count) as slow:
        assert [read(running.base) for _ in range(5)] == [200] * 5
        grown = (running.rss - before) / 1e6
        if count > 100:
            end = time.monotonic() + 120
            while running.connections() > 10:
                assert time.monotonic() < end, "they are still there"
                for connection in slow:
                    try:
                        connection.sendall(b"A")
                    except OSError:
                        continue
                time.sleep(1)
            assert read(running.base) == 200
    sys.stdout.write(f"{count} slow bodies: {grown:.0f} MB more\n")
    assert grown < 20 + count / 10, "MB"


def test_timeouts_of_bodies_and_sockets() -> None:
    """With less grace than there is: a body that dribbles ends, one that comes in pieces is read, and a socket stays open."""
    settings = Settings(network=NetworkSettings(header_timeout_s=1))
    body = json.dumps({"image": base64.b64encode(picture()).decode(), "instruction": " " * 60_000}).encode()
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    app.state.network.grace_period_s = 1.0
    with served(app) as base:
        wait_ready(base)
        port = int(base.rsplit(":", 1)[1])
        with connect(f"ws://127.0.0.1:{port}/v1/ws", open_timeout=60) as camera, opened(port, HALF_A_BODY) as (slow,):
            dribble(slow)
            head = b"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            with opened(port, head % len(body)) as (steady,):
                for n in range(0, len(body), 4000):
                    steady.sendall(body[n : n + 4000])
                    time.sleep(0.1)
                steady.settimeout(60)
                assert steady.recv(65536).startswith(b"HTTP/1.1 200")
            camera.send('{"type": "ping"}')
            assert "pong" in camera.recv(60)


def test_idle_connections_are_closed(hurried: Child) -> None:
    with opened(hurried.port, b"") as (silent,), opened(hurried.port, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") as (served,):
        assert served.recv(65536).startswith(b"HTTP/1.1 200")
        served.sendall(b"GET /hea")  # the head of the next request begins, and never ends
        assert hung_up(silent)
        assert hung_up(served)


def test_rejected_websocket_handshakes_are_closed(hurried: Child) -> None:
    """HTTP allows what WebSocket libraries do not: 200 headers. They say nothing then, and would wait for ever."""
    many = b"".join(b"X-%d: x\r\n" % n for n in range(200))
    shake = (
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    with opened(hurried.port, shake + many + b"\r\n", 3) as odd, opened(hurried.port, shake + b"\r\n") as (camera,):
        assert all(hung_up(connection) for connection in odd)
        camera.settimeout(60)
        assert camera.recv(65536).startswith(b"HTTP/1.1 101")


def test_connections_are_limited_per_address(tmp_path: Path) -> None:
    with child(tmp_path, HUNYUANOCR_NETWORK__CONNECTIONS_PER_ADDRESS="20") as running:
        with opened(running.port, HALF_A_HEAD, 20, "127.0.0.9"):
            with opened(running.port, b"", 1, "127.0.0.9") as (late,):
                said = heard(late)
            assert said.startswith(b"HTTP/1.1 503")
            assert json.loads(said.partition(b"\r\n\r\n")[2])["code"] == "too_many_connections"
            assert read(running.base) == 200, "others come in"
        with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.9", retries=3), timeout=60) as again:
            end = time.monotonic() + 60
            while again.get(f"{running.base}/health").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.1)


def test_probes_are_served_at_the_connection_limit(tmp_path: Path) -> None:
    with (
        child(tmp_path, HUNYUANOCR_NETWORK__CONNECTIONS="30", HUNYUANOCR_NETWORK__HEADER_TIMEOUT_S="600") as running,
        opened(running.port, HALF_A_HEAD, 30),
    ):
        with httpx.Client(base_url=running.base, timeout=60, headers={"connection": "close"}) as client:
            assert [client.get(path).status_code for path in ("/health", "/ready", "/version", "/docs")] == [200, 200, 503, 503]
            assert client.get("/version").json()["code"] == "too_many_connections"
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{running.port}/v1/ws", open_timeout=60):
            pass
        assert refused.value.response.status_code == 503
        with opened(running.port, HALF_A_HEAD, 60):
            end = time.monotonic() + 60
            while running.connections() > 62:
                assert time.monotonic() < end, "beyond the reserve they are closed at once"


def test_a_client_that_sends_first_receives_the_rejection(plain: Child) -> None:
    """A refusal does not wait for the body, and the rest of it is thrown away for a while."""
    size = 8_000_000
    head = f"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    with opened(plain.port, head) as (client,):
        client.settimeout(60)
        for _ in range(0, size, 65536):
            client.sendall(bytes(65536))
        assert client.recv(65536).startswith(b"HTTP/1.1 404")


def test_no_header_names_the_server(plain: Child) -> None:
    for path in ("/health", "/nowhere", "/docs"):
        assert "server" not in httpx.get(plain.base + path, timeout=60).headers


CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(body: bytes, size: int) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[n : n + size] for n in range(0, len(body), size)))


def test_a_body_in_tiny_chunks_is_rejected(plain: Child) -> None:
    """Chunks of one byte, by many at a time; the same body in lines is read, and so is a short one in chunks of one byte, and
    one in packets of one byte.
    """
    body = json.dumps({"image": base64.b64encode(picture(size=(200, 200), form="BMP")).decode()}).encode()
    assert len(body) > 100_000
    with opened(plain.port, CHUNKED % b"/ocr", 20) as rude:
        for connection in rude:
            with suppress(ConnectionError):
                connection.sendall(chunks(body[:20_000], 1))
        said = {heard(connection) for connection in rude} - {b""}  # hung up on while it was sending: it may miss the answer
        assert all(answer.startswith(b"HTTP/1.1 400") and b'"bad_request"' in answer for answer in said), said
    for good, size in ((body, 76), (b'{"image": "%s"}' % base64.b64encode(picture()), 1)):
        with opened(plain.port, CHUNKED % b"/ocr" + chunks(good, size) + b"0\r\n\r\n") as (polite,):
            polite.settimeout(60)
            assert polite.recv(12) == b"HTTP/1.1 200"
    packets = b'{"image": "%s"}' % base64.b64encode(picture(form="BMP"))
    with opened(plain.port, b"POST /ocr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n") as (patient,):
        patient.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patient.sendall(b"Content-Length: %d\r\n\r\n" % len(packets))
        for n in range(len(packets)):
            patient.sendall(packets[n : n + 1])
        patient.settimeout(60)
        assert patient.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("again", [b"Content-Length: 4", b"content-length: 0"])
def test_a_body_with_two_lengths_is_refused(plain: Child, again: bytes) -> None:
    """A proxy that believes the other one would take what follows for another client's request."""
    head = (CHUNKED % b"/login").replace(b"\r\n\r\n", b"\r\n%s\r\n\r\n" % again)
    with opened(plain.port, head + b"0\r\n\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n") as (client,):
        said = heard(client)
    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1 ") == 1, "what follows is not answered"


def test_malformed_requests_are_client_errors(caplog: pytest.LogCaptureFixture) -> None:
    """At once; in the middle of a body that is being read; and after a refusal, when nothing more is said."""
    settings = Settings()
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base:
        wait_ready(base)
        port = int(base.rsplit(":", 1)[1])
        for first in (b"", CHUNKED % b"/ocr", CHUNKED % b"/ocr" + b"5\r\nabcde\r\n"):
            with opened(port, first) as (client,):
                time.sleep(0.1)
                client.sendall(b"nonsense\r\n\r\n")
                head, _, body = heard(client).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 400")
                assert json.loads(body)["code"] == "bad_request"
        with opened(port, CHUNKED % b"/nowhere") as (client,):
            client.settimeout(60)
            assert client.recv(65536).startswith(b"HTTP/1.1 404")
            client.sendall(b"nonsense\r\n")
            assert b"HTTP/1.1" not in heard(client)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("keep_alive_s", [1, 3])
def test_an_idle_connection_stays_open_for_the_configured_time(keep_alive_s: int) -> None:
    """The default is longer than the minute for which nginx keeps connections to its upstream."""
    assert NetworkSettings().keep_alive_s == 75
    settings = Settings(network=NetworkSettings(keep_alive_s=keep_alive_s))
    with served(create_app(settings, Pipeline(FakeBackend(), settings))) as base:
        address = base.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=30) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            while connection.recv(4096):
                pass
            assert keep_alive_s - 0.5 < time.monotonic() - began < keep_alive_s + 20
