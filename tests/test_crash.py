"""The server is killed with -9 at random instants while jobs come in: none is lost, none is doubled, none is stuck."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_backend import picture
from tests.support.ports import free_port
from tests.support.webhooks import SECRET, Receiver, receiving

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300.0  # ends early when what is waited for has come


class Shop:
    """A server that is killed and started again, and a till that sends it pictures and does not give up."""

    def __init__(self, folder: Path, url: str | None, receiver: Receiver, seconds: float) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.receiver = receiver
        self.seconds = seconds
        self.environment = (
            os.environ
            | {
                "HUNYUANOCR_DATA": str(folder),
                "HUNYUANOCR_JOBS__WEBHOOK_SECRET": SECRET,
                "HUNYUANOCR_JOBS__WEBHOOK_HOSTS": json.dumps([receiver.address.removeprefix("http://")]),
            }
            | ({} if url is None else {"HUNYUANOCR_STORE__URL": url})
        )
        self.ids: dict[int, str] = {}
        self.process: subprocess.Popen | None = None
        self.closed = threading.Event()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.support.jobs_program", str(self.port), str(self.seconds)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment)

    def until_ready(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            assert self.process.poll() is None, "the server ended by itself"
            try:
                if httpx.get(f"{self.base}/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("the server never became ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def send(self, numbers: range) -> None:
        """Each picture until it is accepted; a till does not know whether the server died before or after it was."""
        for n in numbers:
            end = time.monotonic() + PATIENCE_S
            while time.monotonic() < end and not self.closed.is_set():
                try:
                    r = httpx.post(
                        f"{self.base}/v1/jobs",
                        files={"file": picture(n % 256, n // 256)},
                        data={"webhook": f"{self.receiver.address}/done"},
                        headers={"Idempotency-Key": f"receipt-{n}"},
                    )
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                if r.status_code == 202:
                    self.ids[n] = r.json()["id"]
                    break
                assert r.status_code in (429, 503), r.text
                time.sleep(0.05)


def killed(shop: Shop, count: int, kills: int, chance: random.Random) -> None:
    tills = [threading.Thread(target=shop.send, args=(range(first, count, 4),)) for first in range(4)]
    shop.start()
    for till in tills:
        till.start()
    try:
        for _ in range(kills):
            if chance.random() < 0.2:
                time.sleep(chance.uniform(0.0, 2.0))  # perhaps before it is ready, or in the middle of the first migration
            else:
                shop.until_ready()
                time.sleep(chance.uniform(0.0, 0.8))
            shop.kill()
            shop.start()
        for till in tills:
            till.join(PATIENCE_S)
        assert len(shop.ids) == count
        shop.until_ready()
        all_is_well(shop, count)
    finally:
        shop.closed.set()
        shop.kill()
        for till in tills:
            till.join(PATIENCE_S)


def all_is_well(shop: Shop, count: int) -> None:
    with httpx.Client(base_url=shop.base, timeout=90) as client:
        for n, id in shop.ids.items():
            end = time.monotonic() + PATIENCE_S
            while (job := client.get(f"/v1/jobs/{id}?wait=30").json())["status"] in ("queued", "running"):
                assert time.monotonic() < end, f"stuck: {job}"
            assert (job["status"], job["error"]) == ("done", None)
            assert job["result"]["text"] == f"#{n % 256:02x}{n // 256:02x}30"
        jobs = [job["id"] for job in pages(client, "/v1/jobs")]
        records = [record["id"] for record in pages(client, "/v1/records")]
    assert sorted(jobs) == sorted(shop.ids.values())
    assert sorted(records) == sorted(shop.ids.values()), "a record for each, and one"
    end = time.monotonic() + PATIENCE_S
    while len(shop.receiver.messages) < count and time.monotonic() < end:
        time.sleep(0.05)
    reported = [message["data"]["id"] for message in shop.receiver.messages.values()]
    assert sorted(reported) == sorted(shop.ids.values()), "each reported under one id, however often"
    assert shop.receiver.forged == 0


def pages(client: httpx.Client, path: str) -> list[dict]:
    found, cursor = [], ""
    while cursor is not None:
        page = client.get(path, params={"limit": 100} | ({"cursor": cursor} if cursor else {})).raise_for_status().json()
        found += page["data"]
        cursor = page["next"]
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Any:
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


def flaky(n: int) -> int:
    """A receiver that is out of sorts now and then."""
    return 500 if n % 25 == 7 else 200


@pytest.mark.timeout(600)
def test_five_kills_lose_nothing(tmp_path: Path) -> None:
    with receiving(flaky) as receiver:
        killed(Shop(tmp_path, None, receiver, 0.05), 50, 5, random.Random(11))


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_thirty_kills_lose_nothing(url: Any, tmp_path: Path) -> None:
    with receiving(flaky) as receiver:
        killed(Shop(tmp_path, url, receiver, 0.1), 300, 30, random.Random(13))
