"""Where nothing is kept, nothing is: the data folder is looked through afterwards, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from hunyuanocr.config import Settings, StoreSettings, SyncSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from hunyuanocr.services.encryption import generate_keypair
from tests.support.fake_backend import FakeBackend, picture, wait_until

WORDS = "袋熊 QUOKKA 77431"
ASKED = "提取总金额和袋熊zirkon编号"


@asynccontextmanager
async def box(data: Path, reader: Any = None, **store: Any) -> AsyncIterator[Any]:
    settings = Settings(data=data, store=StoreSettings(**{"ephemeral": True, **store}))
    reader = reader or FakeBackend()
    reader.text = WORDS
    pipeline = Pipeline(reader, settings)
    app = create_app(settings, pipeline)
    async with app.router.lifespan_context(app):
        await wait_until(lambda: reader.started > 0 and not pipeline.is_swapping)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t", timeout=60) as client:
            yield client, app.state.services, reader


def kept(folder: Path) -> list[str]:
    """Files that hold anything of what was sent or read."""
    secrets = [WORDS.encode(), "袋熊".encode(), b"QUOKKA", b"77431", b"zirkon", picture()[:200], ascii("袋熊")[1:-1].encode()]
    return [f"{name}: {secret!r}" for name, data in contents(folder) for secret in secrets if secret in data]


def contents(folder: Path) -> list[tuple[str, bytes]]:
    """All files; one that goes away meanwhile, as a database's log does, is no file."""
    found = []
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):
            found.append((file.name, file.read_bytes()))
    return found


async def test_answers_leave_nothing(tmp_path: Path) -> None:
    async with box(tmp_path) as (client, services, _):
        answer = await client.post("/ocr", files={"file": picture()}, data={"instruction": ASKED})
        assert answer.json()["text"] == WORDS
        codes = {warning["code"] for warning in answer.json()["warnings"]}
        assert "not_recorded" not in codes, "nothing is missing: nothing was to be kept"
        assert (await client.get("/v1/records")).json()["data"] == []
        assert len(services.pipeline.cache) == 0
        assert kept(tmp_path) == []
    assert kept(tmp_path) == []
    assert not list(tmp_path.rglob("images"))


async def test_what_is_looked_for_is_found_where_records_are_kept(tmp_path: Path) -> None:
    async with box(tmp_path, ephemeral=False, keep_images=True) as (client, _, _):
        await client.post("/ocr", files={"file": picture()}, data={"instruction": ASKED})
    assert kept(tmp_path), "the same look finds what is there"


async def test_a_job_is_gone_when_its_result_was_fetched(tmp_path: Path) -> None:
    async with box(tmp_path) as (client, services, reader):
        reader.gate = asyncio.Event()
        job = (await client.post("/v1/jobs", files={"file": picture()}, data={"instruction": ASKED})).json()["id"]
        assert (await client.get(f"/v1/jobs/{job}")).json()["status"] in ("queued", "running")
        reader.gate.set()
        seen = (await client.get(f"/v1/jobs/{job}?wait=60")).json()
        assert (seen["status"], seen["result"]["text"]) == ("done", WORDS), "an earlier look has not taken it away"
        assert (await client.get(f"/v1/jobs/{job}")).status_code == 404
        assert (await client.get(f"/v1/records/{job}")).status_code == 404
        await services.ephemeral.sweep()
        assert kept(tmp_path) == [], "while it runs"
    assert kept(tmp_path) == []


async def test_a_job_that_nobody_fetches_is_gone_after_a_while(tmp_path: Path) -> None:
    async with box(tmp_path, ephemeral_minutes=1e-6) as (client, services, _):
        await client.post("/v1/jobs", files={"file": picture()}, data={"instruction": ASKED})
        failed = await client.post("/v1/jobs", files={"file": picture()[:60]}, data={"instruction": ASKED})
        await wait_until(lambda: sum(services.job_counts.values()) == 2)
        await services.ephemeral.sweep()
        assert (await client.get("/v1/jobs")).json()["data"] == []
        assert (await client.get(f"/v1/jobs/{failed.json()['id']}")).status_code == 404
        assert kept(tmp_path) == []


async def test_a_batch_is_fetched_once(tmp_path: Path) -> None:
    async with box(tmp_path) as (client, services, _):
        files = [("file", (f"袋熊{n}.png", picture(n))) for n in range(3)]
        batch = (await client.post("/v1/batch", files=files)).json()["id"]
        await wait_until(lambda: services.job_counts["done"] == 3)
        lines = (await client.get(f"/v1/batch/{batch}/results")).text.splitlines()
        assert len([line for line in lines if "QUOKKA" in line]) == 3
        assert (await client.get(f"/v1/batch/{batch}/results")).status_code == 404
        await services.ephemeral.sweep()
        assert kept(tmp_path) == []


@pytest.mark.parametrize("wants", [{"store": {"keep_images": True}}, {"sync": True}])
def test_settings_that_want_to_keep_are_refused(tmp_path: Path, wants: dict[str, Any]) -> None:
    _, public = generate_keypair()
    sync = SyncSettings(enabled="sync" in wants, url="https://hq.example/v1/batches", public_key=public)
    settings = Settings(data=tmp_path, store=StoreSettings(ephemeral=True, **wants.get("store", {})), sync=sync)
    with pytest.raises(ConfigError, match="exclude each other"):
        Services(settings, Pipeline(FakeBackend(), settings))
