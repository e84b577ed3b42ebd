"""The programs in examples/, started as a user starts them, against a real server with a fake backend."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from hunyuanocr.config import JobSettings, PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend, picture
from tests.support.ports import free_port
from tests.support.webhooks import SECRET

EXAMPLES = Path(__file__).parents[1] / "examples"
WEBHOOK_PORT = free_port()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose backend reads a date and a total on every picture."""
    backend = FakeBackend()
    backend.text = "Date: 2026-03-14\nTotal: 36.80"
    settings = Settings(
        data=tmp_path_factory.mktemp("data"),
        pipeline=PipelineSettings(cache_mb=0),
        jobs=JobSettings(webhook_hosts=(f"127.0.0.1:{WEBHOOK_PORT}",), webhook_secret=SECRET),
    )
    with served(create_app(settings, Pipeline(backend, settings))) as address:
        wait_ready(address)
        yield address


@pytest.fixture
def receipts(tmp_path: Path) -> list[Any]:
    """Two equal pictures and a different one."""
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for file, red in zip(files, (16, 16, 200), strict=True):
        file.write_bytes(picture(red, size=(160, 120)))
    return [str(file) for file in files]


def run(base: str, program: str, *arguments: str, status: int = 0) -> str:
    """What an example prints."""
    start = [sys.executable] if program.endswith(".py") else ["bash"]
    done = subprocess.run(
        [*start, str(EXAMPLES / program), *arguments], env=os.environ | {"OCR": base}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == status, done.stderr
    return done.stdout + (done.stderr if status else "")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl(base: str, receipts: list[Any]) -> None:
    fields, job = run(base, "curl.sh", receipts[0]).splitlines()
    assert fields == '{"total_amount": "36.80"}'
    assert '"status":"done"' in job
    assert '"date":"2026-03-14"' in job


def test_read_picture(base: str, receipts: list[Any], tmp_path: Path) -> None:
    assert run(base, "read_picture.py", receipts[0], "extract total amount").strip() == "total_amount: 36.80"
    assert run(base, "read_picture.py", receipts[0], "read all text").strip() == "Date: 2026-03-14\nTotal: 36.80"
    (tmp_path / "text.jpg").write_text("not a picture")
    assert "unsupported_media" in run(base, "read_picture.py", str(tmp_path / "text.jpg"), "read all text", status=1)


def test_a_job_and_its_webhook(base: str, receipts: list[Any]) -> None:
    receiver = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "webhook.py"), str(WEBHOOK_PORT)],
        env=os.environ | {"WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        printed = run(base, "job.py", receipts[0], f"http://127.0.0.1:{WEBHOOK_PORT}/done")
        assert "'total_amount': '36.80'" in printed
        assert receiver.stdout.readline().strip() == f"job.done {printed.strip()}"
    finally:
        receiver.kill()
        receiver.communicate(timeout=60)


def test_camera(base: str, receipts: list[Any]) -> None:
    first, second, third = run(base, "camera.py", *receipts).splitlines()
    assert first.split(maxsplit=2) == ["0", "success", "{'total_amount': '36.80'}"]
    assert second.split()[:3] == ["1", "success", "unchanged"]
    assert third.split()[:2] == ["2", "success"]


def test_chat(base: str, receipts: list[Any]) -> None:
    pytest.importorskip("openai")
    assert run(base, "chat.py", receipts[0], "提取总金额").strip() == '{"total_amount": "36.80"}'


def test_every_example_is_run_here_and_is_short() -> None:
    programs = [path for path in EXAMPLES.iterdir() if path.suffix in {".py", ".sh"}]
    tested, listed = Path(__file__).read_text(encoding="utf-8"), (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert len(programs) >= 5
    for path in programs:
        assert f'"{path.name}"' in tested
        assert path.name in listed
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
