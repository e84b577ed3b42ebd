"""The examples of docs/integration.md and docs/jobs.md, taken out of the pages and run as they stand against a real server."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from hunyuanocr.config import PipelineSettings, Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.webhook_client import sign
from tests.api.conftest import served, wait_ready
from tests.support.fake_backend import FakeBackend, picture
from tests.support.webhooks import SECRET
from tests.web.conftest import CHROMIUM

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def examples(page: str) -> dict[str, str]:
    return dict(EXAMPLE.findall((ROOT / "docs" / page).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose reader finds a total on every picture."""
    reader = FakeBackend()
    reader.text = "Date: 2026-03-14\nTotal: 36.80"
    settings = Settings(data=tmp_path_factory.mktemp("data"), pipeline=PipelineSettings(cache_mb=0))
    with served(create_app(settings, Pipeline(reader, settings))) as address:
        wait_ready(address)
        yield address


@pytest.fixture
def run(base: Any, tmp_path: Any) -> Callable[..., Any]:
    """Run an example in a folder with a receipt; return what it prints."""
    (tmp_path / "receipt.png").write_bytes(picture())

    def go(name: str, *command: str) -> str:
        (tmp_path / name).write_text(examples("integration.md")[name], encoding="utf-8")
        done = subprocess.run(
            [*command, name], cwd=tmp_path, env=os.environ | {"OCR": base}, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return go


def test_every_example_is_run_here() -> None:
    code = re.findall(r"^```(\w+)", (ROOT / "docs" / "integration.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(code) == len(examples("integration.md"))
    tested = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in examples("integration.md") if f'"{name}"' not in tested] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl(run: Callable[..., Any]) -> None:
    printed = run("counter.sh", "bash", "-eu")
    assert '{"total_amount": "36.80"}' in printed
    assert '"status":"done"' in printed


def test_a_pda(run: Callable[..., Any]) -> None:
    assert run("pda.py", sys.executable) == "36.80 certain\n"


def test_an_erp(run: Callable[..., Any]) -> None:
    run("pda.py", sys.executable)
    first = run("erp.py", sys.executable)
    assert "36.80" in first
    assert run("erp.py", sys.executable) == first, "each record once"


def test_an_openai_client(run: Callable[..., Any]) -> None:
    pytest.importorskip("openai")
    assert "36.80" in run("chat.py", sys.executable)


def test_a_kiosk(base: str) -> None:
    body = examples("integration.md")["kiosk.http"].rstrip("\n").replace("\n", "\r\n")
    head, _, form = body.partition("\r\n\r\n")
    sent = (form + "\r\n").encode().replace(b"{picture}", picture())
    host, port = base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as wire:
        wire.sendall(head.format(host=host, length=len(sent)).encode() + b"\r\n\r\n" + sent)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"total_amount": "36.80"}')


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_page_in_a_browser(base: str) -> None:
    from playwright.sync_api import sync_playwright

    script = examples("integration.md")["page.js"]
    ask = f"async () => {{ {script}; const dot = await fetch('data:image/png;base64,{encoded()}'); "
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{base}/health")
        fields = page.evaluate(ask + "return await readPicture(new File([await dot.blob()], 'a.png')); }")
        browser.close()
    assert fields == {"total_amount": "36.80", "date": "2026-03-14"}


def encoded() -> str:
    import base64

    return base64.b64encode(picture()).decode()


def test_the_check_of_a_webhook(tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_text(examples("jobs.md")["verify.py"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("verify", tmp_path / "verify.py")
    verify = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(verify)
    now, body = int(time.time()), b'{"type":"job.done"}'

    def headers(when: int, signature: str) -> dict[str, str]:
        return {"webhook-id": "a", "webhook-timestamp": str(when), "webhook-signature": signature}

    good = sign(SECRET, "a", now, body)
    assert verify.is_genuine(headers(now, good), body, SECRET)
    assert verify.is_genuine(headers(now, f"v1,old {good}"), body, SECRET), "two keys while one is changed"
    assert not verify.is_genuine(headers(now, good), body + b" ", SECRET)
    assert not verify.is_genuine(headers(now, sign(SECRET, "b", now, body)), body, SECRET)
    assert not verify.is_genuine(headers(now - 400, sign(SECRET, "a", now - 400, body)), body, SECRET)
