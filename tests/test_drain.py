"""SIGTERM: what is being read is answered, what is new hears 503, jobs go on after the restart."""

import signal
import sqlite3
import sys
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.appliance import appliance
from tests.support.fake_backend import picture

PROGRAM = (sys.executable, "-m", "tests.support.drain_program")


def serve(seconds: Any, grace: float, data: Path, **environment: Any) -> AbstractContextManager[Any]:
    return appliance(program=(*PROGRAM, str(seconds), str(grace)), HUNYUANOCR_DATA=str(data), **environment)


def ask(base: Any, answers: list[Any], **form: Any) -> None:
    answers.append(httpx.post(f"{base}/ocr", files={"file": picture(**form)}, timeout=120))


def until_reading(base: Any) -> None:
    end = time.monotonic() + 60
    while "hunyuanocr_readings_running 1.0" not in httpx.get(f"{base}/metrics", timeout=60).text:
        assert time.monotonic() < end
        time.sleep(0.05)


def draining(base: Any) -> httpx.Response:
    """A connection that was open before the signal, as a till's program keeps it."""
    end = time.monotonic() + 60
    with httpx.Client(base_url=base, timeout=60) as client:
        while (answer := client.get("/version")).status_code == 200:
            assert time.monotonic() < end
            time.sleep(0.05)
    return answer


def test_a_reading_ends_and_a_new_one_hears_503(tmp_path: Path) -> None:
    with serve(tmp_path / "go", 120, tmp_path) as running:
        running.until_ready()
        answers: list[Any] = []
        asking = threading.Thread(target=ask, args=(running.page, answers))
        asking.start()
        until_reading(running.api)
        running.process.send_signal(signal.SIGTERM)
        for base in (running.page, running.api):
            refused = draining(base)
            assert refused.status_code == 503
            assert refused.json()["code"] == "reader_unavailable"
            assert "shutting down" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) >= 1
            assert httpx.get(f"{base}/ready", timeout=60).status_code == 503
            assert httpx.get(f"{base}/health", timeout=60).status_code == 200, "alive to the end"
            with pytest.raises(Exception, match="503"), connect(base.replace("http", "ws") + "/v1/ws", open_timeout=60):
                pass
        (tmp_path / "go").touch()
        asking.join(60)
        assert [a.status_code for a in answers] == [200]
        assert running.process.wait(60) == 0
    assert "Traceback" not in "".join(running.printed)


def test_the_grace_is_a_bound(tmp_path: Path) -> None:
    with serve(600, 0.5, tmp_path) as running:
        running.until_ready()
        answers: list[Any] = []

        def asked() -> None:
            try:
                ask(running.page, answers)
            except httpx.HTTPError as e:
                answers.append(e)

        asking = threading.Thread(target=asked)
        asking.start()
        until_reading(running.api)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
        asking.join(60)
    assert getattr(answers[0], "status_code", 0) != 200


def test_a_job_goes_on_after_the_restart(tmp_path: Path) -> None:
    with serve(600, 60, tmp_path) as running:
        running.until_ready()
        job = httpx.post(f"{running.api}/v1/jobs", files={"file": picture()}, timeout=60).json()["id"]
        until_reading(running.api)
        assert running.stop() == 0, "it does not wait for jobs"
    with sqlite3.connect(tmp_path / "hunyuanocr.db") as database:
        assert database.execute("SELECT status, attempts FROM jobs").fetchall() == [("queued", 0)]
    database.close()
    with serve(0, 5, tmp_path) as running:
        seen = httpx.get(f"{running.api}/v1/jobs/{job}?wait=60", timeout=90).json()
        assert (seen["status"], seen["result"]["text"]) == ("done", "#102030")
