"""The running program that is attacked, and what watches it meanwhile."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.attacks import tracing, values
from tests.support.appliance import Appliance, appliance

HEALTH_S = 0.2
SETTINGS = {
    "HUNYUANOCR_NETWORK__REQUESTS_PER_MINUTE_PER_IP": "0",
    "HUNYUANOCR_NETWORK__REQUESTS_PER_MINUTE_PER_KEY": "0",
    "HUNYUANOCR_NETWORK__AUTH_FAILURES_PER_MINUTE": "0",
    "HUNYUANOCR_PPOCR__WORKERS": "1",
    "HUNYUANOCR_IMAGES__PDF_TIMEOUT_S": "0.5",  # what these bounds let through is read within the time of an answer
    "HUNYUANOCR_IMAGES__MAX_PIXELS": "30000000",
}


@dataclass
class Target:
    """The running program and what watches it."""

    program: Appliance
    key: str
    canary: Path
    listener: str
    contacted: list[object]
    trace: Path | None
    data: Path
    traced_from: int = 0

    @property
    def headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key}


@contextmanager
def attacked(folder: Path) -> Iterator[Target]:
    """Run the whole program, under strace where possible, with an administrator's key: hostile values reach every depth."""
    canary = folder / "secret-of-the-house.txt"
    canary.write_text("nobody may open this")
    data, temporary = folder / "data", folder / "tmp"
    temporary.mkdir()
    trace = None if tracing.missing() else folder / "trace"
    command = tracing.traced(trace) if trace else (sys.executable, "app_web.py")
    environment: dict[str, Any] = SETTINGS | {"HUNYUANOCR_DATA": str(data), "TMPDIR": str(temporary)}
    with _listener() as (url, contacted), appliance(program=command, **environment) as program:
        program.until_ready()
        made = httpx.post(f"{program.page}/v1/admin/keys", json={"name": "a", "scopes": ["admin", "read", "submit"]}, timeout=60)
        attacked = Target(program, made.json()["key"], canary, url, contacted, trace, data)
        headers = attacked.headers
        read = httpx.post(f"{program.page}/ocr", headers=headers, files={"file": ("a.png", values.tiny_picture())}, timeout=60)
        assert read.status_code == 200, read.text
        httpx.get(f"{program.page}/", headers=headers, timeout=60)
        attacked.traced_from = trace.stat().st_size if trace else 0
        yield attacked


@contextmanager
def _listener() -> Iterator[tuple[str, list[object]]]:
    """A server that nobody has a reason to contact; the list holds who did."""
    server = socket.create_server(("127.0.0.1", 0))
    contacted: list[object] = []

    def accept() -> None:
        while True:
            try:
                connection, address = server.accept()
            except OSError:
                return
            contacted.append(address)
            connection.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", contacted
    finally:
        server.close()


class Health:
    """Asks /health all the time, on a connection of its own, from a thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.seconds: list[float] = []
        self.failed: list[str] = []

    def _ask(self) -> None:
        with httpx.Client(base_url=self._address, timeout=10) as client:
            while not self._over.wait(0.02):
                began = time.perf_counter()
                try:
                    if client.get("/health").status_code != 200:
                        self.failed.append("not 200")
                except httpx.HTTPError as e:
                    self.failed.append(repr(e))
                took = time.perf_counter() - began
                before = time.perf_counter()
                time.sleep(0.005)
                if time.perf_counter() - before < 0.03:  # else the machine itself was busy
                    self.seconds.append(took)

    def __enter__(self) -> Health:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def late(self, limit_s: float = HEALTH_S) -> list[float]:
        """The answers that took longer than `limit_s`, in seconds."""
        return sorted(s for s in self.seconds if s > limit_s)
