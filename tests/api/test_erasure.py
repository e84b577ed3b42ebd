"""What deletion takes along: words of jobs, names of files, answers in memory. What is not deleted stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from hunyuanocr.config import Settings, StoreSettings
from hunyuanocr.store.tables import jobs
from tests.api.conftest import open_client
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture, wait_until

WORDS = (b"instruction-4711", b"mrs-smith-4711", b"ward-4711")


@pytest.fixture
async def shop(reader: FakeBackend, tmp_path: Path) -> AsyncIterator[AppClient]:
    """A client of an API with a SQLite database in `tmp_path / "data"`, and with its cache."""
    async with AsyncExitStack() as stack:
        yield await open_client(stack, Settings(data=tmp_path / "data", store=StoreSettings()), reader)


async def batch(client: AppClient) -> str:
    """The id of the one job of a batch that is over, which has all of `WORDS`."""
    sent = await client.post(
        "/v1/batch",
        files={"file": ("mrs-smith-4711.png", picture())},
        data={"instruction": "instruction-4711 total", "device": "ward-4711"},
    )
    assert sent.status_code == 202, sent.text
    (job,) = (await client.get("/v1/jobs")).json()["data"]
    over = (await client.get(f"/v1/jobs/{job['id']}?wait=30")).json()
    assert (over["status"], over["file"], over["device"]) == ("done", "mrs-smith-4711.png", "ward-4711")
    return job["id"]


async def test_deleting_a_record_deletes_the_text_of_its_job(shop: AppClient, tmp_path: Path) -> None:
    def kept() -> set[Any]:
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        return {word for word in WORDS if any(word in path.read_bytes() for path in files)}

    id = await batch(shop)
    assert kept() == set(WORDS)
    assert (await shop.delete(f"/v1/records/{id}")).status_code == 204
    assert kept() == set()
    job = (await shop.get(f"/v1/jobs/{id}")).json()
    assert (job["status"], job["file"], job["device"], job["result"]) == ("done", None, None, None)
    results = await shop.get(f"/v1/batch/{job['batch_id']}/results?format=csv")
    assert results.status_code == 200


async def test_other_jobs_are_kept(shop: AppClient) -> None:
    id = await batch(shop)
    other = (await shop.post("/v1/ocr", files={"file": picture(1)})).json()["id"]
    assert (await shop.delete(f"/v1/records/{other}")).status_code == 204
    assert (await shop.get(f"/v1/jobs/{id}")).json()["file"] == "mrs-smith-4711.png"
    assert (await shop.get(f"/v1/records/{id}")).json()["instruction"] == "instruction-4711 total"


async def asked(client: AppClient) -> dict[str, Any]:
    """What the database has of what was asked, by the state of the job."""
    store = client.app.state.services.store
    return dict(await store.read(lambda s: s.execute(select(jobs.c.status, jobs.c.params)).all()))


async def test_the_instruction_is_removed_from_a_finished_job(shop: AppClient, reader: FakeBackend) -> None:
    reader.gate = asyncio.Event()
    send: dict[str, Any] = {"files": {"file": picture()}, "data": {"instruction": "instruction-4711 total", "response": "fields"}}
    first, second = [(await shop.post("/v1/jobs", **send)).json()["id"] for _ in range(2)]
    await wait_until(lambda: reader.now == 1)
    assert {expected["instruction"] for expected in (await asked(shop)).values()} == {"instruction-4711 total"}
    assert (await shop.delete(f"/v1/jobs/{second}")).json()["status"] == "cancelled"
    reader.gate.set()
    fields = (await shop.get(f"/v1/jobs/{first}?wait=30")).json()["result"]
    assert set(fields.values()) == {None}, "the form that was asked for, after the question is forgotten"
    assert await asked(shop) == {"done": {"response": "fields"}, "cancelled": {}}


async def test_deleting_a_record_clears_the_cache(shop: AppClient, reader: FakeBackend) -> None:
    async def read() -> str:
        return (await shop.post("/v1/ocr", files={"file": picture()})).json()["id"]

    first, again = await read(), await read()
    assert reader.begun == 1, "the second answer came from the cache"
    await shop.delete(f"/v1/records/{first}")
    await read()
    assert (reader.begun, first != again) == (2, True)


async def test_the_audit_log_names_created_and_revoked_keys(shop: AppClient) -> None:
    made = (await shop.post("/v1/admin/keys", json={"name": "office", "scopes": ["admin"]})).json()
    shop.headers["X-API-Key"] = made["key"]
    other = (await shop.post("/v1/admin/keys", json={"name": "till"})).json()["id"]
    assert (await shop.delete(f"/v1/admin/keys/{other}")).status_code == 204
    lines: list[dict[str, object]] = []
    while len(lines) < 3:  # some may be on their way into the database
        lines = (await shop.get("/v1/admin/audit?action=admin")).json()["data"]
    reported = {(line["who"], line["what"], line["status"]) for line in lines}
    assert reported == {
        ("local", f"/v1/admin/keys/{made['id']}", 201),
        ("office", f"/v1/admin/keys/{other}", 201),
        ("office", f"/v1/admin/keys/{other}", 204),
    }
    assert made["key"] not in str(lines)
