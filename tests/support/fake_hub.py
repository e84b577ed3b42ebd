"""A small model hub on loopback that speaks as Hugging Face and as ModelScope do, and can misbehave."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 100_000  # bytes from which a file counts as LFS


@dataclass
class HubState:
    """What the hub holds, how it behaves, and what it was asked."""

    files: dict[str, bytes]
    listed: dict[str, dict[str, Any]] = field(default_factory=dict)  # what the listing says instead of the truth
    etag: str = "first"
    cuts: Counter[str] = field(default_factory=Counter)  # file: how many more times the connection ends in its middle
    failures: Counter[str] = field(default_factory=Counter)  # file: how many more times 503 is answered
    status: int = 200  # of everything
    ranges: bool = True
    rest_as_200: bool = False  # as an older route of ModelScope does
    only_old_route: bool = False
    cdn: str = ""  # another origin, to which large files are redirected
    portal: bool = False  # a login page instead of the listing
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)

    def downloads(self) -> list[str]:
        return [path for path, _ in self.asked if "resolve" in path or "FilePath" in path or path.startswith("/cdn/")]

    def ranges_of(self, name: str) -> list[str | None]:
        return [headers.get("Range") for path, headers in self.asked if unquote(path).endswith(name)]


def huggingface_listing(state: HubState) -> dict[str, Any]:
    siblings = []
    for name, data in state.files.items():
        entry: dict[str, Any] = {"rfilename": name, "size": len(data)}
        if len(data) >= LARGE:
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 135}
        else:
            entry["blobId"] = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        siblings.append(entry | state.listed.get(name, {}))
    siblings += [entry for name, entry in state.listed.items() if name not in state.files]
    return {"id": "tencent/HunyuanOCR", "sha": "c0ffee", "siblings": siblings}


def modelscope_listing(state: HubState) -> dict[str, Any]:
    files = [{"Path": "dflash", "Name": "dflash", "Type": "tree", "Size": 0, "Sha256": ""}]
    for name, data in state.files.items():
        entry = {"Path": name, "Type": "blob", "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest().upper()}
        files.append(entry | state.listed.get(name, {}))
    files += [entry for name, entry in state.listed.items() if name not in state.files]
    return {"Code": 200, "Data": {"Files": files}, "Success": True}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: HubState

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        state, path = self.state, self.path
        state.asked.append((path, dict(self.headers)))
        if state.status != 200:
            return self.answer(state.status, b"{}", {"X-Error-Message": "Access to model is restricted."})
        if path.startswith(("/api/models/tencent/HunyuanOCR/revision/", "/api/v1/models/Tencent-Hunyuan/HunyuanOCR/repo/files?")):
            listing = huggingface_listing(state) if path.startswith("/api/models") else modelscope_listing(state)
            return self.answer(200, b"<html>log in</html>" if state.portal else json.dumps(listing).encode())
        name = self.file_name()
        if name not in state.files:
            return self.answer(404, b"{}")
        if state.cdn and not path.startswith("/cdn/") and len(state.files[name]) >= LARGE:
            return self.answer(302, b"", {"Location": f"{state.cdn}/cdn/{name}"})
        return self.send(name, state.files[name])

    def file_name(self) -> str | None:
        parts = urlsplit(self.path)
        if parts.path == "/api/v1/models/Tencent-Hunyuan/HunyuanOCR/repo":
            return parse_qs(parts.query)["FilePath"][0]
        if self.state.only_old_route:
            return None
        for start in ("/tencent/HunyuanOCR/resolve/c0ffee/", "/models/Tencent-Hunyuan/HunyuanOCR/resolve/master/", "/cdn/"):
            if parts.path.startswith(start):
                return unquote(parts.path.removeprefix(start))
        return None

    def send(self, name: str, data: bytes) -> None:
        state, start, status = self.state, 0, 200
        headers = {"ETag": f'"{state.etag}-{name}"'}
        if state.failures[name] > 0:
            state.failures[name] -= 1
            return self.answer(503, b"busy")
        expected = self.headers.get("Range")
        if expected and state.ranges and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            start = int(expected.removeprefix("bytes=").removesuffix("-"))
            if not state.rest_as_200:
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        if state.cuts[name] > 0:
            state.cuts[name] -= 1
            return self.answer(status, body[: len(body) // 2], headers, announced=len(body), name=name)
        return self.answer(status, body, headers, name=name)

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, announced: int | None = None, name: str = ""
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)
        self.state.sent[name] += len(body)
        self.close_connection = announced is not None


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(state: HubState) -> Iterator[str]:
    """The hub on a free port of loopback; yields its address."""
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
