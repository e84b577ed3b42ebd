"""PostgreSQL frozen in the middle (SIGSTOP): its kernel still accepts and acknowledges, and nobody answers. Everything that needs
it hears 503 soon, nothing else notices, and when it goes on nothing is lost. And SQLite held locked by another program.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.fake_backend import picture
from tests.support.postgres import Server

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 8.0  # a first request may find out; on a busy machine
FAST_S = 1.5  # once it is known


@contextmanager
def frozen(server: Any) -> Iterator[None]:
    """All processes of the server stand still inside; again and again, for it may be starting one."""
    parent = psutil.Process(server.process.pid)
    everyone = [parent, *parent.children(recursive=True)]
    try:
        for process in everyone:
            process.suspend()
        yield
    finally:
        for process in [*parent.children(recursive=True), parent]:
            process.resume()


@contextmanager
def program(url: str, data: Path, seconds: float = 0.0, grace: float = 3.0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The appliance as a program, with a reader that takes so long; its address."""
    command = [sys.executable, "-m", "tests.support.drain_program", str(seconds), str(grace)]
    env = os.environ | {"HUNYUANOCR_STORE__URL": url, "HUNYUANOCR_DATA": str(data)}
    log = (data / "log").open("w+b")
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        yield address_of_program(data / "log", process), process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        log.close()


def address_of_program(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("API alone:"):
                base = line.split()[-1]
                if _ready(base):
                    return base
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def _ready(base: str) -> bool:
    try:
        return httpx.get(f"{base}/ready", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def timed(method: str, url: str, **more: Any) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    answer = httpx.request(method, url, timeout=60, **more)
    return answer, time.monotonic() - began


def ended(base: str, id: str) -> str:
    """The status of a job; a claim that was committed while nobody heard of it is free again when its lease of a minute ends."""
    for _ in range(3):
        status = str(httpx.get(f"{base}/v1/jobs/{id}?wait=60", timeout=90).json()["status"])
        if status == "done":
            break
    return status


def calls(base: str, job: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    file = {"files": {"file": picture(9)}}
    return {
        "records": ("GET", f"{base}/v1/records", {}),
        "jobs": ("GET", f"{base}/v1/jobs", {}),
        "a job": ("GET", f"{base}/v1/jobs/{job}", {}),
        "a new job": ("POST", f"{base}/v1/jobs", file),
        "a batch": ("POST", f"{base}/v1/batch", file),
        "keys": ("GET", f"{base}/v1/admin/keys", {}),
        "a new key": ("POST", f"{base}/v1/admin/keys", {"json": {"name": "kiosk"}}),
        "audit": ("GET", f"{base}/v1/admin/audit", {}),
        "deleting": ("DELETE", f"{base}/v1/records/{job}", {}),
    }


def check_unavailable(name: str, answer: httpx.Response, seconds: float, most: float) -> None:
    assert answer.status_code == 503, (name, answer.status_code, answer.text)
    assert answer.json()["code"] == "store_unavailable", (name, answer.text)
    assert int(answer.headers["retry-after"]) >= 1
    assert seconds < most, (name, seconds)


@contextmanager
def health_watched(base: str) -> Iterator[None]:
    """/health is asked all the time, and answers within 200 ms; now and then later, for the machine may be busy."""
    over, took = threading.Event(), [0.0]

    def watch() -> None:
        with httpx.Client(timeout=30) as client:
            while not over.wait(0.05):
                began = time.monotonic()
                assert client.get(f"{base}/health").status_code == 200
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    took.sort()
    assert took[len(took) // 2] < 0.2, took[-5:]
    assert took[-1] < 2.0, took[-5:]


def test_a_frozen_server_is_503_soon_and_loses_nothing(postgres_server: Server, postgres_url: str, tmp_path: Path) -> None:
    with program(postgres_url, tmp_path, seconds=0.2) as (base, process):
        before = httpx.post(f"{base}/v1/jobs", files={"file": picture(1)}, timeout=60).json()["id"]
        assert httpx.get(f"{base}/v1/jobs/{before}?wait=30", timeout=60).json()["status"] == "done"
        under_way = [httpx.post(f"{base}/v1/jobs", files={"file": picture(n)}, timeout=60).json()["id"] for n in range(2, 8)]
        with frozen(postgres_server), ThreadPoolExecutor(12) as threads, health_watched(base):
            asked = {name: threads.submit(timed, *call[:2], **call[2]) for name, call in calls(base, before).items()}
            reading = threads.submit(timed, "POST", f"{base}/ocr", files={"file": picture(99)})
            for name, future in asked.items():
                check_unavailable(name, *future.result(), DEADLINE_S)
            answer, seconds = reading.result()
            assert (answer.status_code, seconds < DEADLINE_S) == (200, True), (answer.text, seconds)
            assert "not_recorded" in {warning["code"] for warning in answer.json()["warnings"]}
            for name, (method, url, more) in calls(base, before).items():  # now it is known
                check_unavailable(name, *timed(method, url, **more), FAST_S)
            metrics, seconds = timed("GET", f"{base}/metrics")
            assert metrics.status_code == 200
            assert "hunyuanocr_store_up 0.0" in metrics.text
            assert seconds < 2.0 + FAST_S
            ready = timed("GET", f"{base}/ready")[0].json()
            assert "not answer" in ready["store"], ready
        end = time.monotonic() + 30
        while httpx.get(f"{base}/v1/records", timeout=60).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
        for id in under_way:
            assert ended(base, id) == "done", id
        while "not_recorded" in httpx.post(f"{base}/ocr", files={"file": picture(98)}, timeout=60).text:
            assert time.monotonic() < end + 30
            time.sleep(0.2)
        assert httpx.get(f"{base}/ready", timeout=60).json()["store"] == "ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log, log[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("asleep_s", [0.0, 6.0])
def test_the_program_ends_within_its_grace_though_the_server_is_frozen(
    postgres_server: Server, postgres_url: str, tmp_path: Path, asleep_s: float
) -> None:
    with program(postgres_url, tmp_path, seconds=0.3, grace=3) as (base, process):
        ids = [httpx.post(f"{base}/v1/jobs", files={"file": picture(n)}, timeout=60).json()["id"] for n in range(8)]
        with frozen(postgres_server):
            time.sleep(asleep_s)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            took = time.monotonic() - began
        assert took < 3 + DEADLINE_S, took
    with program(postgres_url, tmp_path, seconds=0.0) as (base, _):
        for id in ids:
            assert ended(base, id) == "done", id


@pytest.mark.long
def test_requests_do_not_line_up_behind_a_locked_file(tmp_path: Path) -> None:
    """Ten at once: the first waits as long as a transaction may, the others do not wait one after the other."""
    with program(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path) as (base, _):
        assert httpx.post(f"{base}/v1/jobs", files={"file": picture()}, timeout=60).status_code == 202
        other = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(10) as threads:
            posts = [threads.submit(timed, "POST", f"{base}/v1/jobs", files={"file": picture(n)}) for n in range(10)]
            for n, post in enumerate(posts):
                check_unavailable(f"job {n}", *post.result(), 5 + DEADLINE_S)
        other.execute("ROLLBACK")
        other.close()
        end = time.monotonic() + 20
        while httpx.post(f"{base}/v1/jobs", files={"file": picture()}, timeout=60).status_code != 202:
            assert time.monotonic() < end
            time.sleep(0.2)
