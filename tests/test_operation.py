"""What an operator is given: a dashboard of figures that exist, a unit that systemd knows, an upgrade that keeps records."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from hunyuanocr.backends.vllm_server.process import temporary_folder
from hunyuanocr.config import Settings, SyncSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from hunyuanocr.services.encryption import generate_keypair
from hunyuanocr.services.metrics import gpu
from hunyuanocr.store import state
from hunyuanocr.store.database import Database
from hunyuanocr.store.migrations import downgrade, head
from hunyuanocr.store.records import Entry
from tests.store.results import kept
from tests.support.appliance import appliance
from tests.support.fake_backend import FakeBackend, picture

ROOT = Path(__file__).parent.parent
DASHBOARD = ROOT / "docker" / "grafana" / "dashboard.json"
UNIT = ROOT / "docker" / "systemd" / "hunyuanocr.service"


@pytest.fixture
async def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[Any]:
    """All of /metrics: sample names with their labels, of a machine with a GPU, an engine process and a finished sync."""
    one = gpu.Gpu(0, "NVIDIA GeForce RTX 4090 D", 24_000, 6_000, 0.5, 61.0)
    monkeypatch.setattr(gpu, "gpus", lambda: gpu.Gpus("580.1", (one,)))
    sync = SyncSettings(enabled=True, url="https://hq.example/v1/batches", public_key=generate_keypair()[1])
    settings = Settings(data=tmp_path, sync=sync)
    services = Services(settings, Pipeline(FakeBackend(), settings))
    await services.database.write(state.set_state, "sync", "2026-11-21T03:00:00+00:00")
    services.job_counts, services.webhook_counts = {"done": 1}, {"delivered": 1}
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)  # as vLLM's server is one
    text = (await services.metrics.render())[0].decode()
    child.communicate()
    declared = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    samples = set(re.findall(r"^([a-zA-Z_:][\w:]*)", text, re.MULTILINE))
    histograms = set(re.findall(r"^# TYPE (\S+) histogram", text, re.MULTILINE))
    services.cameras.close()
    services.database.close()
    return declared | samples | {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}


def expressions(board: Any) -> Iterator[Any]:
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def names(expression: Any) -> set[Any]:
    return set(re.findall(r"\b(?:hunyuanocr|process)_\w+", expression))


def test_every_expression_of_the_dashboard_asks_for_what_there_is(shown: set[Any]) -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = list(expressions(board))
    assert len(asked) > 30
    for title, expression in asked:
        assert names(expression), title
        assert names(expression) <= shown, title
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
    variables = [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    assert all(names(query) <= shown for query in variables)
    assert not names("rate(hunyuanocr_no_such_total[5m])") <= shown, "the look finds what is not there"


def test_the_dashboard_shows_every_figure_of_ours(shown: set[Any]) -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    used = set().union(*(names(expression) for _, expression in expressions(board)))
    stems = {re.sub(r"_(bucket|sum|count|total|created|info)$", "", name) for name in used}
    ours = {re.sub(r"_(bucket|sum|count|total|created|info)$", "", name) for name in shown if name.startswith("hunyuanocr_")}
    assert ours - stems <= {"hunyuanocr_cache_entries", "hunyuanocr_reader_concurrency"}


def test_panels_do_not_lie_upon_each_other() -> None:
    places = [panel["gridPos"] for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def unit() -> dict[str, str]:
    lines = [line for line in UNIT.read_text(encoding="utf-8").splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_waits_longer_than_the_server() -> None:
    found = unit()
    assert float(found["TimeoutStopSec"]) > 2 * Settings().server.grace_s + 10
    assert (found["KillSignal"], found["Restart"], found["User"]) == ("SIGTERM", "always", "hunyuanocr")
    assert found["NoNewPrivileges"] == "true"
    assert found["ProtectSystem"] == "strict"
    assert f"HUNYUANOCR_DATA=/var/lib/{found['StateDirectory']}" in found["Environment"], "the one place it may write"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    here = text.replace("/opt/hunyuanocr/.venv/bin/python app_web.py", "/bin/true").replace("/opt/hunyuanocr", "/")
    (tmp_path / UNIT.name).write_text(here)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, timeout=60)
    assert (done.returncode, UNIT.name in done.stderr) == (0, False), done.stderr
    (tmp_path / UNIT.name).write_text(here.replace("[Service]", "[Service]\nProtectEverything=yes"))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, timeout=60)
    assert "ProtectEverything" in done.stderr, "the look finds what is wrong"


async def test_a_database_of_the_first_version_is_taken_up_at_the_start(tmp_path: Path) -> None:
    """With what it has; as an older program left it."""
    settings = Settings(data=tmp_path)
    old = Database(settings.database_url)
    old.migrate()
    with old.transaction() as session:
        downgrade(session, "0001")
        entry = kept()
        _insert_as_of_old(session, entry)
    old.close()
    services = Services(settings, Pipeline(FakeBackend(), settings))
    counted = await services.database.read(lambda session: session.exec_driver_sql("SELECT count(*) FROM records").scalar())
    revision = await services.database.read(lambda s: s.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
    assert (counted, revision) == (1, head())
    services.cameras.close()
    services.database.close()


def _insert_as_of_old(session: Connection, entry: Entry) -> None:
    from hunyuanocr.store import records

    records.insert(session, entry, send=False)


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    new = Database(settings.database_url)
    new.migrate()
    new.close()
    with sqlite3.connect(tmp_path / "hunyuanocr.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    services = Services(settings, Pipeline(FakeBackend(), settings))
    with pytest.raises(ConfigError, match="newer version"):
        await services.database.read(lambda session: None)
    services.cameras.close()
    services.database.close()


NO_TEMPORARY_FOLDER = """
import sys, tempfile
tempfile._candidate_tempdir_list = lambda: ["/proc"]  # where nobody can create a file, not even root
import app_web
sys.exit(app_web.main(sys.argv[1:]))
"""


def test_without_a_temporary_folder_the_api_is_served_without_the_page() -> None:
    """Gradio cannot be imported then: the program ended with a traceback."""
    with appliance("--backend", "fake", program=(sys.executable, "-c", NO_TEMPORARY_FOLDER)) as running:
        running.until_ready()
        assert httpx.get(running.page, timeout=60).status_code == 404
        read = httpx.post(f"{running.page}/ocr", files={"file": picture()}, timeout=60)
        assert read.status_code == 200
        export = httpx.get(f"{running.api}/v1/records/export?format=xlsx", timeout=60)
        assert (export.status_code, export.content[:2]) == (200, b"PK")
        printed = "".join(running.printed)
    assert printed.count("no temporary folder is writable") == 1
    assert "Traceback" not in printed


def test_vllm_without_a_temporary_folder_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with pytest.raises(ConfigError, match="No temporary folder is writable"):
        temporary_folder()
