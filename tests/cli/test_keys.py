"""`hunyuanocr keys` and `audit`, as programs, while an app serves from the same folder."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from api.app import create_app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from tests.support.fake_backend import FakeBackend

ROOT = Path(__file__).parents[2]


def hunyuanocr(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from hunyuanocr.cli import main; main()", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"HUNYUANOCR_DATA": str(folder)},
        timeout=100,
    )


async def test_a_key_is_made_used_and_revoked_while_the_server_runs(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    app = create_app(settings, Pipeline(FakeBackend(), settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as client:
            assert (await client.get("/v1/records")).status_code == 200, "nobody is asked yet"
            made = hunyuanocr(tmp_path, "keys", "create", "收银台 1", "--scope", "read", "--owner", "shop", "--days", "2")
            assert made.returncode == 0, made.stderr
            key = made.stdout.strip()
            assert key.startswith("hyo_")
            assert key not in made.stderr
            await until(client, 401, "", "the first key closes the door")
            await until(client, 200, key)
            listed = hunyuanocr(tmp_path, "keys", "list").stdout.strip().split("\t")
            assert listed[:4] == [key.split("_")[1], "收银台 1", "shop", "read"]
            assert hunyuanocr(tmp_path, "keys", "revoke", listed[0]).returncode == 0
            await until(client, 401, key)
            await app.state.authenticator.audit_log.flush()
    assert "revoked" in hunyuanocr(tmp_path, "keys", "list").stdout
    assert hunyuanocr(tmp_path, "keys", "revoke", listed[0]).returncode == 2
    log = hunyuanocr(tmp_path, "audit", "--action", "read").stdout.splitlines()
    assert [cell.split("\t")[1] for cell in log][-1] == "local"
    assert "收银台 1" in log[0]
    done = [line.split("\t") for line in hunyuanocr(tmp_path, "audit", "--action", "admin").stdout.splitlines()]
    assert [(cells[1], cells[4], cells[5]) for cells in done] == [
        (f"command line, user {os.getuid()}", status, f"/v1/admin/keys/{listed[0]}") for status in ("204", "201")
    ], "the second revocation did nothing"
    assert "\trefused\t401\t/v1/records" in hunyuanocr(tmp_path, "audit").stdout


async def until(client: httpx.AsyncClient, status: int, key: Any, why: str = "") -> None:
    """A server looks once a second."""
    end = time.monotonic() + 120
    while (await client.get("/v1/records", headers={"X-API-Key": key} if key else {})).status_code != status:
        assert time.monotonic() < end, why


def test_what_cannot_be_a_key(tmp_path: Path) -> None:
    for wrong in (["a\nb"], ["x", "--scope", "root"]):
        done = hunyuanocr(tmp_path, "keys", "create", *wrong)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert hunyuanocr(tmp_path, "keys", "list").stdout == ""
