"""HTTPS without a proxy: two flags, and mistakes told before anything is loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import httpx
import pytest
from websockets.sync.client import connect

from api.serving import check_tls
from hunyuanocr.config import NetworkSettings
from hunyuanocr.errors import ConfigError
from tests.api.network.certificates import certificate
from tests.appliance import appliance

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def test_two_flags_and_it_speaks_https(tmp_path):
    trust = certificate(tmp_path / "a.crt", tmp_path / "a.key")
    with appliance("--no-page", "--tls-cert", str(tmp_path / "a.crt"), "--tls-key", str(tmp_path / "a.key")) as running:
        assert running.page.startswith("https://127.0.0.1:")
        with httpx.Client(verify=trust, timeout=60) as client:
            for base in (running.page, running.api):
                assert client.get(f"{base}/health").status_code == 200
                with pytest.raises(httpx.HTTPError):
                    client.get(f"{base.replace('https', 'http')}/health")
            end = time.monotonic() + 90
            while client.get(f"{running.api}/ready").status_code != 200:
                assert time.monotonic() < end
                time.sleep(0.2)
        with connect(f"{running.api.replace('https', 'wss')}/v1/ws", ssl=trust, open_timeout=60) as camera:
            camera.send('{"type": "ping"}')
            assert json.loads(camera.recv(60))["type"] == "pong"


def test_mistakes_are_told_at_start(tmp_path):
    cert, key, other = tmp_path / "a.crt", tmp_path / "a.key", tmp_path / "b.key"
    certificate(tmp_path / "b.crt", other)
    certificate(cert, key)
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", locked], check=True, capture_output=True
    )
    (tmp_path / "text").write_text("no certificate")
    assert check_tls(NetworkSettings(tls_cert=cert, tls_key=key))
    assert not check_tls(NetworkSettings())
    for wrong in ((cert, None), (None, key), (cert, other), (tmp_path / "text", key), (cert, tmp_path / "none"), (cert, locked)):
        with pytest.raises(ConfigError):
            check_tls(NetworkSettings(tls_cert=wrong[0], tls_key=wrong[1]))
