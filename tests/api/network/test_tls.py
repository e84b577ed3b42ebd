"""HTTPS without a proxy: two flags; mistakes are reported before anything is loaded."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from api.app import create_app
from api.uvicorn_config import validate_tls
from hunyuanocr.config import NetworkSettings, Settings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served
from tests.api.network.test_timeouts import hung_up
from tests.support.appliance import appliance
from tests.support.certificates import certificate
from tests.support.fake_backend import FakeBackend

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def test_two_flags_enable_https(tmp_path: Path) -> None:
    trust = certificate(tmp_path / "a.crt", tmp_path / "a.key")
    with appliance("--no-page", "--tls-cert", str(tmp_path / "a.crt"), "--tls-key", str(tmp_path / "a.key")) as running:
        assert running.page.startswith("https://127.0.0.1:")
        with httpx.Client(verify=trust, timeout=60) as client:
            for base in (running.page, running.api):
                assert client.get(f"{base}/health").status_code == 200
                with pytest.raises(httpx.HTTPError):
                    client.get(f"{base.replace('https', 'http')}/health")
            end = time.monotonic() + 240
            while client.get(f"{running.api}/ready").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.2)
        with connect(f"{running.api.replace('https', 'wss')}/v1/ws", ssl=trust, open_timeout=60) as camera:
            camera.send('{"type": "ping"}')
            assert json.loads(camera.recv(60))["type"] == "pong"
            camera.send(b"\xff" * 4_000_000, text=True)
            with pytest.raises(ConnectionClosedError) as closed:
                camera.recv(60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1007


def test_invalid_tls_settings_fail_at_start(tmp_path: Path) -> None:
    cert, key, other = tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "b.key"
    certificate(tmp_path / "b.crt", other)
    certificate(cert, key)
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", locked], check=True, capture_output=True
    )
    (tmp_path / "text").write_text("no certificate")
    assert validate_tls(NetworkSettings(tls_cert=cert, tls_key=key))
    assert not validate_tls(NetworkSettings())
    for wrong in ((cert, None), (None, key), (cert, other), (tmp_path / "text", key), (cert, tmp_path / "none"), (cert, locked)):
        with pytest.raises(ConfigError):
            validate_tls(NetworkSettings(tls_cert=wrong[0], tls_key=wrong[1]))


@pytest.fixture
def shop(tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[Any]:
    """What is counted, the port, and whom to trust; it waits ten minutes for a handshake, or as many seconds as the test says.
    Nothing of it is an error of ours.
    """
    trust = certificate(tmp_path / "a.crt", tmp_path / "a.key")
    patience = getattr(request, "param", 600)
    network = NetworkSettings(
        tls_cert=tmp_path / "a.crt",
        tls_key=tmp_path / "a.key",
        header_timeout_s=patience,
        connections_per_address=20,
        connections=50,
    )
    settings = Settings(network=network)
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    with served(app) as base:
        yield app.state.network.connections, int(base.rsplit(":", 1)[1]), trust
    assert [record for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


def asked(port: Any, trust: Any, source: str = "127.0.0.1") -> int:
    """The status of /health, from this address."""
    transport = httpx.HTTPTransport(verify=trust, local_address=source)
    with httpx.Client(transport=transport, timeout=60) as client:
        return client.get(f"https://127.0.0.1:{port}/health").status_code


def soon(condition: Callable[..., Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def send_request(port: Any, source: str = "127.0.0.9") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 60, (source, 0))


HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("shop", [2], indirect=True)
@pytest.mark.parametrize("first", [b"", HALF_A_HELLO])
def test_unfinished_handshakes_time_out(shop: Any, first: bytes) -> None:
    connections, port, trust = shop
    with ExitStack() as stack:
        held = [stack.enter_context(send_request(port)) for _ in range(20)]
        for waiting in held:
            with suppress(ConnectionError):  # on a slow machine the first ones have had their time
                waiting.sendall(first)
        assert all(hung_up(waiting) for waiting in held)
    soon(lambda: connections.open == 0)
    assert asked(port, trust, "127.0.0.9") == 200


@pytest.mark.parametrize("first", [b"", HALF_A_HELLO])
def test_handshakes_that_do_not_end_are_counted(shop: Any, first: bytes) -> None:
    connections, port, trust = shop
    with ExitStack() as stack:
        held = [stack.enter_context(send_request(port)) for _ in range(20)]
        for waiting in held:
            waiting.sendall(first)
        soon(lambda: connections.open == 20)
        with send_request(port) as late:
            assert hung_up(late), "there is no room for another one of this address"
        assert connections.open == 20
        assert asked(port, trust) == 200, "others come in"
    soon(lambda: connections.open == 0)
    assert asked(port, trust, "127.0.0.9") == 200


def test_all_of_them_together_have_a_limit(shop: Any) -> None:
    connections, port, trust = shop
    with ExitStack() as stack:
        for n in range(100):
            stack.enter_context(send_request(port, f"127.0.1.{1 + n % 10}"))
        soon(lambda: connections.open >= 60)
        assert connections.open <= 50 + 32, "the reserve for probes is in it"
    soon(lambda: connections.open == 0)
    assert asked(port, trust) == 200


def test_invalid_handshakes_leave_nothing(shop: Any) -> None:
    connections, port, trust = shop
    for wrong in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(100), HALF_A_HELLO + b"\xff" * 600):
        with send_request(port) as client:
            client.sendall(wrong)
            assert hung_up(client)
    with send_request(port) as gone, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(gone, server_hostname="127.0.0.1")  # it does not trust us, and says so
    soon(lambda: connections.open == 0)
    assert asked(port, trust) == 200


def test_a_request_in_the_last_packet_of_the_handshake(shop: Any) -> None:
    """A client that sends both in one packet, as the fast ones do."""
    _, port, trust = shop
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    with send_request(port) as client:
        tls = trust.wrap_bio(theirs, ours, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sendall(ours.read())
                theirs.write(client.recv(65536))
        tls.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client.sendall(ours.read())
        while True:
            try:
                said = tls.read(15)
                break
            except ssl.SSLWantReadError:
                theirs.write(client.recv(65536))
    assert said == b"HTTP/1.1 200 OK"


def test_idle_tls_connections_use_little_memory(tmp_path: Path) -> None:
    """asyncio's own buffers would be 100 MB for so many."""
    certificate(tmp_path / "a.crt", tmp_path / "a.key")
    settings = Settings(
        network=NetworkSettings(
            tls_cert=tmp_path / "a.crt", tls_key=tmp_path / "a.key", connections_per_address=400, header_timeout_s=60
        )
    )
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    with served(app) as base, ExitStack() as stack:
        before = psutil.Process().memory_info().rss
        for _ in range(400):
            stack.enter_context(send_request(int(base.rsplit(":", 1)[1]))).sendall(HALF_A_HELLO)
        soon(lambda: app.state.network.connections.open == 400)
        time.sleep(0.5)
        assert psutil.Process().memory_info().rss - before < 64_000_000


def test_an_unfinished_handshake_does_not_block_shutdown(tmp_path: Path) -> None:
    """It would have ten minutes; the server goes at once."""
    certificate(tmp_path / "a.crt", tmp_path / "a.key")
    settings = Settings(network=NetworkSettings(tls_cert=tmp_path / "a.crt", tls_key=tmp_path / "a.key", header_timeout_s=600))
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    with ExitStack() as stack:
        with served(app) as base:
            waiting = stack.enter_context(send_request(int(base.rsplit(":", 1)[1])))
            waiting.sendall(HALF_A_HELLO)
            soon(lambda: app.state.network.connections.open == 1)
        assert hung_up(waiting)
        assert app.state.network.connections.open == 0
