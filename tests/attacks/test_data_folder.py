"""Two processes on one data folder: the second is refused in plain words, and the first one's jobs are not spoiled."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from api.schemas.jobs import SERIALIZERS
from hunyuanocr.cli import app
from hunyuanocr.config import Settings, StoreSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from hunyuanocr.services.jobs.leases import worker_name
from hunyuanocr.store import folder as folders
from hunyuanocr.store.folder import DataFolder
from tests.support.appliance import appliance
from tests.support.fake_backend import FakeBackend, picture

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataFolder, "wait_s", 0.1)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A data folder that this process uses."""
    lock = DataFolder(tmp_path / "data")
    lock.acquire()
    yield lock.folder
    lock.release()


def child(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_a_second_start_is_refused_in_plain_words(held: Path) -> None:
    second = subprocess.run(
        [sys.executable, "app_web.py", "--backend", "ppocr", "--no-page", "--port", "0", "--api-port", "0"],
        cwd=ROOT,
        env=os.environ | {"HUNYUANOCR_DATA": str(held)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2
    for words in (str(held), f"process {os.getpid()}", "HUNYUANOCR_DATA=/another/folder"):
        assert words in second.stderr
    assert "Traceback" not in second.stderr
    assert not list(held.glob("*.db*")), "nothing was touched"


@pytest.mark.timeout(120)
async def test_second_starts_do_not_spoil_the_jobs_of_the_first(tmp_path: Path) -> None:
    """Each start queued the running job again; the third one gave it up as `reader_crashed`."""
    data, go = tmp_path / "data", tmp_path / "go"
    with appliance(
        program=(sys.executable, "-m", "tests.support.drain_program", str(go), "1"), HUNYUANOCR_DATA=str(data)
    ) as first:
        id = httpx.post(f"{first.api}/v1/jobs", files={"file": picture()}, timeout=30).json()["id"]
        wait(lambda: httpx.get(f"{first.api}/v1/jobs/{id}", timeout=30).json()["status"] == "running")
        for _ in range(3):
            second, _ = services(data)
            with pytest.raises(ConfigError, match=f"process {first.process.pid} on"):
                await second.start(SERIALIZERS)
            await second.close()
        go.touch()
        job = httpx.get(f"{first.api}/v1/jobs/{id}?wait=30", timeout=60).json()
        assert (job["status"], job["attempts"], job["error"]) == ("done", 1, None)


def wait(condition: Any, seconds: Any = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


HOLDER = """
import multiprocessing, os, sys, time
from pathlib import Path
from hunyuanocr.store.folder import DataFolder
lock = DataFolder(Path(sys.argv[1]))
lock.acquire()
forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
forked.start()
print(forked.pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_server_holds_nothing_nor_do_its_children(tmp_path: Path) -> None:
    holder = child(HOLDER, str(tmp_path))
    forked = int(holder.stdout.readline())
    try:
        with pytest.raises(ConfigError, match=f"process {holder.pid} on"):
            DataFolder(tmp_path).acquire()
        holder.kill()
        holder.wait(10)
        os.kill(forked, 0)  # it lives
        lock = DataFolder(tmp_path)
        lock.acquire()
        assert lock.locked
        lock.release()
    finally:
        os.kill(forked, 9)
        holder.communicate()


def test_deleting_the_lock_file_admits_nobody(held: Path) -> None:
    (held / folders.FILE).unlink()
    with pytest.raises(ConfigError, match="in use by another process"):
        DataFolder(held).acquire()


def test_the_id_of_an_appliance_outlives_its_process_and_a_damaged_file(tmp_path: Path) -> None:
    first, again, other = DataFolder(tmp_path / "a"), DataFolder(tmp_path / "a"), DataFolder(tmp_path / "b")
    for lock in (first, again, other):
        lock.acquire()
        lock.release()
    assert first.instance == again.instance != other.instance
    (tmp_path / "a" / folders.FILE).write_bytes(b"\xff{")
    damaged = DataFolder(tmp_path / "a")
    damaged.acquire()
    assert json.loads((tmp_path / "a" / folders.FILE).read_text())["instance"] == damaged.instance
    damaged.release()


def test_a_share_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.acquire()
    second.acquire()
    assert caplog.text.count("(No locks available)") == 2
    assert worker_name(first.instance) != worker_name(second.instance), "neither takes the other's jobs for its own"


def test_commands_work_while_a_server_runs(held: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUNYUANOCR_DATA", str(held))
    run = CliRunner().invoke
    for command in (["keys", "create", "till"], ["keys", "list"], ["audit"], ["backup", str(tmp_path / "shop.tar.gz")]):
        assert run(app, command).exit_code == 0, command
    assert run(app, ["doctor", "--quick"]).exit_code in (0, 1)


@pytest.mark.long
def test_a_folder_is_watched_while_a_server_runs(held: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUNYUANOCR_DATA", str(held))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture())
    watched = CliRunner().invoke(app, ["watch", str(tmp_path / "in"), "--once", "--backend", "ppocr"])
    assert watched.exit_code == 0, watched.output


def test_restore_is_refused_while_a_server_runs(held: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUNYUANOCR_DATA", str(held))
    CliRunner().invoke(app, ["keys", "create", "till"])
    CliRunner().invoke(app, ["backup", str(tmp_path / "shop.tar.gz")])
    for more in ([], ["--force"]):
        refused = CliRunner().invoke(app, ["restore", str(tmp_path / "shop.tar.gz"), *more])
        assert isinstance(refused.exception, ConfigError)
    assert "in use by another process" in str(refused.exception)
    assert not list(held.glob(".restore-*"))


def services(data: Path, url: str | None = None, seconds: float = 0.0) -> tuple[Services, Pipeline]:
    store = StoreSettings(url=url) if url else StoreSettings()
    settings = Settings(data=data, store=store)
    pipeline = Pipeline(FakeBackend(seconds), settings)
    return Services(settings, pipeline), pipeline


async def test_one_after_the_other_is_fine(tmp_path: Path) -> None:
    for _ in range(2):
        running, _ = services(tmp_path)
        await running.start(SERIALIZERS)
        second, _ = services(tmp_path)
        with pytest.raises(ConfigError, match="in use by another process"):
            await second.start(SERIALIZERS)
        await running.stop()
        await running.close()


async def test_nothing_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", store=StoreSettings(enabled=False))
    running = Services(settings, Pipeline(FakeBackend(), settings))
    await running.start(SERIALIZERS)
    await running.stop()
    await running.close()
    assert not (tmp_path / "data").exists()


async def test_appliances_that_share_a_postgresql_leave_each_others_jobs_alone(postgres_url: str, tmp_path: Path) -> None:
    """Same host name, as containers on the host's network have it, and a clock that differs by an hour: the leases are watched,
    not compared with a clock.
    """
    from hunyuanocr.clock import utc_now
    from hunyuanocr.store import jobs
    from hunyuanocr.store.jobs import Job

    first, pipeline = services(tmp_path / "a", postgres_url)
    reader: Any = pipeline.backend
    reader.gate = asyncio.Event()
    await pipeline.start()
    await first.start(SERIALIZERS)
    now = utc_now()
    job = Job("a", "local", now, {"response": "all"}, 1)
    await first.job_service.submit(job, picture())
    while reader.now == 0:
        await asyncio.sleep(0.01)
    second, other = services(tmp_path / "b", postgres_url)
    await second.start(SERIALIZERS)
    await second.database.write(lambda s: s.exec_driver_sql("UPDATE jobs SET lease_until = lease_until - interval '1 hour'"))
    await asyncio.sleep(0.5)
    third, _ = services(tmp_path / "c", postgres_url)
    await third.start(SERIALIZERS)
    await asyncio.sleep(0.5)
    found = await second.database.read(jobs.get, "local", "a")
    assert (found.status, found.attempts) == ("running", 1)
    reader.gate.set()
    assert (await first.job_service.wait("local", "a", 30)).job.status == "done"
    for each in (third, second, first):
        await each.stop()
    await pipeline.close()
    await other.close()
    for each in (third, second, first):
        await each.close()
