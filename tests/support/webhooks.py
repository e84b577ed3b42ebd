"""The other side of webhooks, as a shop's own program would be: checks signatures, takes each message once by its id."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """`messages` by `webhook-id`; `heard` is every id in the order in which it came, repetitions and refusals counted."""

    def __init__(self, answer: Callable[[int], int] = lambda n: 200) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.heard: list[str] = []
        self.forged = 0
        self.answer = answer
        self.address = ""
        self._lock = threading.Lock()

    def take(self, headers: Any, body: bytes) -> int:
        """The status to answer."""
        id, when = headers["webhook-id"], headers["webhook-timestamp"]
        mac = hmac.new(KEY, f"{id}.{when}.".encode() + body, hashlib.sha256).digest()
        with self._lock:
            if headers["webhook-signature"] != "v1," + base64.b64encode(mac).decode():
                self.forged += 1
                return 401
            self.heard.append(id)
            number = len(self.heard)
        status = self.answer(number)
        if status == 200:
            self.messages[id] = json.loads(body)
        return status


@contextmanager
def receiving(answer: Callable[[int], int] = lambda n: 200) -> Iterator[Receiver]:
    """On a free port of 127.0.0.1; `answer` makes a status of the number of the request."""
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(receiver.take(self.headers, body))
            self.send_header("content-length", "0")
            self.send_header("location", f"{receiver.address}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
