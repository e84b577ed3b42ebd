"""Behind a real nginx, with the configuration that is shipped: HTTPS, sockets, streams, addresses."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.api.network.conftest import ROOT, child
from tests.support.certificates import certificate
from tests.support.fake_backend import picture
from tests.support.ports import free_port

NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
STRANGER = "127.0.0.5"  # another machine, as far as addresses go

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (apt install nginx)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(folder: Path, upstream: int, https: int, http: int) -> Iterator[str]:
    """Ours, on these ports, all that it writes in `folder`; ended by its own process."""
    conf = (ROOT / "docker/nginx/default.conf.template").read_text(encoding="utf-8")
    for ours, theirs in {
        "${OCR_UPSTREAM}": f"127.0.0.1:{upstream}",
        "listen 443 ssl": f"listen 127.0.0.1:{https} ssl",
        "listen 80": f"listen 127.0.0.1:{http}",
        "/etc/nginx/certs": str(folder),
    }.items():
        assert ours in conf
        conf = conf.replace(ours, theirs)
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;"
        f"events {{}} http {{ access_log off; {temporary} {conf} }}"
    )
    command = [NGINX, "-p", str(folder), "-e", f"{folder}/log", "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not _open(https):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"https://127.0.0.1:{https}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The address of nginx, how to trust it, a gate for the reader, and the port of the appliance itself."""
    folder = tmp_path_factory.mktemp("nginx")
    trust = certificate(folder / "tls.crt", folder / "tls.key")
    ports = free_port(), free_port()
    with (
        child(
            folder / "data",
            HUNYUANOCR_NETWORK__TRUSTED_PROXIES='["127.0.0.1"]',
            HUNYUANOCR_NETWORK__DENY=f'["{STRANGER}"]',
            HUNYUANOCR_SECURITY__ALLOW_ANONYMOUS="true",
            TEST_GATE=str(folder / "gate"),
        ) as running,
        nginx(folder, running.port, *ports) as address,
    ):
        yield address, trust, folder / "gate", f"http://127.0.0.1:{ports[1]}"


def test_a_stream_comes_while_it_is_written(shop: Any) -> None:
    address, trust, gate, _ = shop
    events = []
    with (
        httpx.Client(verify=trust, timeout=60) as client,
        client.stream("POST", f"{address}/ocr", files={"file": picture()}, data={"stream": "true"}) as answer,
    ):
        for line in answer.iter_lines():
            if line.startswith("event:"):
                events.append(line.split()[1])
                gate.touch()  # the reader goes on when its first piece has been seen here
    gate.touch()
    assert events[0] == "delta"
    assert events[-1] == "result"


def test_requests_and_refusals(shop: Any) -> None:
    address, trust, gate, plain = shop
    gate.touch()
    with httpx.Client(verify=trust, timeout=60) as client:
        r = client.get(f"{address}/version")
        assert (r.status_code, "uvicorn" in str(r.headers), "1.2" in r.headers["server"]) == (200, False, False)
        assert client.post(f"{address}/ocr", files={"file": picture()}).status_code == 200
        assert client.get(f"{address}/v1/records/none").json()["code"] == "not_found"
        big = client.post(f"{address}/ocr", files={"file": b"\xff\xd8\xff" + bytes(36_000_000)})
        assert (big.status_code, big.json()["code"]) == (413, "image_too_large")
        r = client.get(f"{plain}/docs?x=1")
        assert (r.status_code, r.headers["location"]) == (308, "https://127.0.0.1/docs?x=1")


@pytest.mark.parametrize(
    "forged", [{}, {"x-forwarded-for": "127.0.0.1"}, {"x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1"}]
)
def test_denied_addresses_are_denied_behind_the_proxy(shop: Any, forged: dict[str, Any]) -> None:
    address, trust, _, _ = shop
    with httpx.Client(transport=httpx.HTTPTransport(verify=trust, local_address=STRANGER), timeout=60) as client:
        r = client.get(f"{address}/version", headers=forged)
        assert (r.status_code, r.json()["code"]) == (403, "address_refused")


def test_sockets_go_through(shop: Any) -> None:
    address, trust, _, _ = shop
    target = address.replace("https", "wss") + "/v1/ws"
    with connect(target, ssl=trust, open_timeout=60) as camera:
        camera.send('{"type": "ping", "timestamp": 7}')
        assert '"timestamp": 7' in camera.recv(60)
    with pytest.raises(InvalidStatus) as refused:
        connect(target, ssl=trust, source_address=(STRANGER, 0), open_timeout=60)
    assert refused.value.response.status_code == 403


def test_the_certificate_is_verified(shop: Any) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{shop[0]}/version", verify=ssl.create_default_context())
