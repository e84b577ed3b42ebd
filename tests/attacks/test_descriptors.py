"""Out of file descriptors: a flood of silent connections at a program that has few. /health answers, the log stays small, and
afterwards all is as before.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.attacks.test_frozen_database import ROOT, address_of_program
from tests.support.fake_backend import picture

DESCRIPTORS = 200


@contextmanager
def small_program(data: Path, descriptors: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The appliance as a program with so few descriptors; its address."""
    env = os.environ | {"HUNYUANOCR_DATA": str(data)}
    with (data / "log").open("w+b") as log:
        limited = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh"]
        command = [*limited, sys.executable, "-m", "tests.support.drain_program", "0", "3"]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            yield address_of_program(data / "log", process), process
        finally:
            process.kill()
            process.wait(30)


@contextmanager
def silent(base: str, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections that say this and nothing more. Those that are hung up on are opened again by `flood`."""
    host, port = base.removeprefix("http://").split(":")
    opened = []
    try:
        for _ in range(count):
            opened.append(socket.create_connection((host, int(port)), timeout=10))
            with suppress(OSError):
                opened[-1].sendall(said)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def probe(base: str) -> tuple[int, float]:
    """The status of /health on a connection of its own, and seconds."""
    host, port = base.removeprefix("http://").split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = connection.recv(65536)
    return int(said.split()[1]) if said else 0, time.monotonic() - began


@pytest.mark.parametrize("said", [b"", pytest.param(b"GET /ocr HTTP/1.1\r\nHost: x\r\nX-Half", marks=pytest.mark.long)])
def test_a_flood_of_silent_connections_leaves_health_alive_and_the_log_small(tmp_path: Path, said: bytes) -> None:
    with small_program(tmp_path, DESCRIPTORS) as (base, process):
        took = []
        alone = sorted(probe(base)[1] for _ in range(20))[10]  # on a machine that is busy with something else
        for _ in range(2):
            with silent(base, DESCRIPTORS + 100, said):
                for _ in range(10):
                    status, seconds = probe(base)
                    assert status == 200
                    took.append(seconds)
                    time.sleep(0.05)
        assert sorted(took)[len(took) // 2] < 0.2 + 2 * alone, took
        assert max(took) < 2.0, took
        assert (tmp_path / "log").stat().st_size < 100_000
        end = time.monotonic() + 20
        while httpx.get(f"{base}/version", timeout=10).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert httpx.post(f"{base}/ocr", files={"file": picture()}, timeout=30).status_code == 200
        assert httpx.post(f"{base}/v1/jobs", files={"file": picture()}, timeout=30).status_code == 202
        assert process.poll() is None
    log = (tmp_path / "log").read_text()
    assert "Logging error" not in log
    assert "Traceback" not in log, log[-2000:]


def test_a_flood_from_this_machine_leaves_its_own_probes_alive(tmp_path: Path) -> None:
    """With plenty of descriptors it is the limit of one address that is reached, and Docker's probe comes from that address."""
    with small_program(tmp_path, 4096) as (base, _), silent(base, 320):
        assert [probe(base)[0] for _ in range(5)] == [200] * 5
        with httpx.Client(timeout=10) as client:
            refused = client.get(f"{base}/version", headers={"connection": "close"})
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert int(refused.headers["retry-after"]) >= 1


def test_where_others_have_taken_the_descriptors_it_is_503_and_passes(tmp_path: Path) -> None:
    """Not connections but whatever else: the limit is lowered below what is open. The spare descriptor answers."""
    with small_program(tmp_path, DESCRIPTORS) as (base, process):
        with httpx.Client(base_url=base, timeout=30) as known:  # open before
            assert known.get("/health").status_code == 200
            taken = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            before = (tmp_path / "log").stat().st_size
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (taken, DESCRIPTORS))
            try:
                for _ in range(20):
                    assert _status(base) in (503, 0)
                    assert known.get("/health").status_code == 200
                answers = [known.post("/v1/jobs", files={"file": picture(n)}) for n in range(3)]
                assert {answer.status_code for answer in answers} <= {202, 503}, [answer.text for answer in answers]
            finally:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
            assert known.get("/health").status_code == 200
        assert probe(base)[0] == 200
        assert (tmp_path / "log").stat().st_size - before < 20_000


def _status(base: str) -> int:
    try:
        return probe(base)[0]
    except OSError:
        return 0


async def test_a_request_that_finds_no_descriptor_hears_503(make_client: Any) -> None:
    from fastapi import FastAPI

    client = await make_client()
    app: FastAPI = client.app

    def open_something() -> None:
        try:
            raise OSError(24, "Too many open files")
        except OSError as e:
            raise RuntimeError("a library says it otherwise") from e

    app.add_api_route("/open-something", open_something)
    answer = await client.get("/open-something")
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "out_of_descriptors"
    assert int(answer.headers["retry-after"]) >= 1
