"""The health check of the images, against small servers: it finds the port and HTTPS wherever the appliance does."""

import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docker.dockerfiles import ROOT
from tests.support.certificates import certificate


@contextmanager
def answering(status: Any, files: tuple[Any, Any] | None = None) -> Iterator[int]:
    """A server of this status on a free port of 127.0.0.1, over HTTPS with `files`; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def asked(**environment: Any) -> int:
    """The exit status of the check."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUNYUANOCR_")}
    script = [sys.executable, "-I", "-S", str(ROOT / "docker" / "health.py")]
    return subprocess.run(script, env=clean | environment, timeout=120, stderr=subprocess.DEVNULL).returncode


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 0), (403, 0), (503, 1)])
def test_whoever_answers_lives_unless_the_server_fails(status: int, code: int) -> None:
    with answering(status) as port:
        assert asked(HUNYUANOCR_SERVER__API_PORT=str(port)) == code
    assert asked(HUNYUANOCR_SERVER__API_PORT=str(port)) == 1, "nobody listens"


def test_https_is_found_in_the_environment_and_in_the_file(tmp_path: Path) -> None:
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate(*files)
    with answering(200, files) as port:
        settings = tmp_path / "a.toml"
        settings.write_text(f'[server]\napi_port = {port}\n[network]\ntls_cert = "{files[0]}"\n', encoding="utf-8")
        assert asked(HUNYUANOCR_CONFIG=str(settings)) == 0
        assert asked(HUNYUANOCR_SERVER__API_PORT=str(port), HUNYUANOCR_NETWORK__TLS_CERT=str(files[0])) == 0
        assert asked(HUNYUANOCR_SERVER__API_PORT=str(port)) == 1, "no plain HTTP on a port of HTTPS"
        assert asked(HUNYUANOCR_CONFIG=str(settings), HUNYUANOCR_SERVER__API_PORT="1") == 1, "the environment wins"
