"""The audit log: who did what, with nothing of what was on the pictures, and gone when it is old."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.clock import utc_now
from hunyuanocr.config import Settings
from hunyuanocr.errors import StoreUnavailable
from hunyuanocr.ids import new_id
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.retention import Retention
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import audit
from hunyuanocr.store.database import Database
from tests.api.auth.conftest import Build, RunningApp, code
from tests.support.fake_backend import picture

READ: dict[str, Any] = {"files": {"file": ("a.png", picture(), "image/png")}, "data": {"instruction": "the words of the person"}}


async def lines(running_app: RunningApp, **expected: Any) -> list[Any]:
    await running_app.authenticator.audit_log.flush()
    return [
        (line.who, line.action, line.what, line.status)
        for line in reversed(await running_app.authenticator.database.read(audit.list_latest, 500, **expected))
    ]


async def test_audit_entries_of_requests(running_app: RunningApp) -> None:
    async with running_app.client("clinic") as clinic, running_app.client("shop") as shop, running_app.client("admin") as admin:
        id = (await clinic.post("/ocr", **READ)).json()["id"]
        job = (await clinic.post("/v1/jobs", **READ)).json()["id"]
        await clinic.get("/v1/records", params={"text": "the words that were looked for"})
        await clinic.get(f"/v1/records/{id}")
        await clinic.get("/v1/records/export", params={"format": "jsonl"})
        await shop.get(f"/v1/records/{id}")
        await clinic.delete(f"/v1/records/{id}")
        key = (await admin.post("/v1/admin/keys", json={"name": "new"})).json()["id"]
        await clinic.get("/v1/models")
        assert await lines(running_app) == [
            ("clinic", "create", f"/v1/records/{id}", 200), ("clinic", "create", f"/v1/jobs/{job}", 202),
            ("clinic", "read", "/v1/records", 200), ("clinic", "read", f"/v1/records/{id}", 200),
            ("clinic", "export", "/v1/records/export", 200), ("shop", "read", f"/v1/records/{id}", 404),
            ("clinic", "delete", f"/v1/records/{id}", 204), ("admin", "admin", f"/v1/admin/keys/{key}", 201),
        ]  # fmt: skip
        answer = (await admin.get("/v1/admin/audit", params={"what": id})).json()["data"]
        assert [line["action"] for line in answer] == ["delete", "read", "read", "create"]
        assert {line["address"] for line in answer} == {"192.168.1.20"}
        whole = json.dumps((await admin.get("/v1/admin/audit", params={"limit": 1000})).json())
        assert "words" not in whole
        assert "#102030" not in whole, "what the reader reads"
        assert code(await clinic.get("/v1/admin/audit")) == (403, "missing_scope")


@pytest.mark.parametrize("path", ["/v1/records/export%0a", "/v1/records%0a", "/v1/jobs/x%0a", "/v1/models%0a", "/v1/records/%00"])
async def test_a_path_with_a_control_character_is_served_by_no_route(running_app: Any, path: Any) -> None:
    """An export was in the audit log as `read`: the router ignores a line feed at the end of a path."""
    async with running_app.client("clinic") as clinic, running_app.client("admin") as admin, running_app.client() as stranger:
        for client in (clinic, admin):
            assert code(await client.get(path)) == (404, "not_found")
        assert code(await stranger.get(path)) == (401, "unauthorized")
        assert await lines(running_app) == [], "nothing was served"
        assert (await clinic.get("/v1/records/export")).status_code == 200
        assert await lines(running_app) == [("clinic", "export", "/v1/records/export", 200)]


async def test_the_audit_log_has_pages(running_app: Any) -> None:
    async with running_app.client("admin") as admin:
        for n in range(5):
            await admin.get(f"/v1/records/{n}")
        first = (await admin.get("/v1/admin/audit", params={"limit": 3, "action": "read", "owner": "local"})).json()
        rest = (await admin.get("/v1/admin/audit", params={"limit": 9, "action": "read", "before": first["next"]})).json()
        assert [line["what"][-1] for line in first["data"] + rest["data"]] == ["4", "3", "2", "1", "0"]
        assert rest["next"] is None


async def test_failures_are_logged_without_the_credential(running_app: RunningApp) -> None:
    tried = "hyo_000000000000_a-key-that-somebody-tried"
    async with running_app.client() as somebody, running_app.client(tried) as guesser, running_app.client("kiosk") as kiosk:
        await somebody.post("/login", data={"key": tried})
        for _ in range(30):
            await guesser.get("/v1/records/something-of-his-own-words")
        await somebody.get("/v1/records")  # merely knocked
        await kiosk.get("/v1/records")
        await somebody.post("/login", data={"key": running_app.keys["clinic"]})
        await somebody.post("/logout")
    assert await lines(running_app) == [
        ("", "login", "/login", 401),
        ("", "refused", "/v1/records/{id}", 401),
        ("kiosk", "refused", "/v1/records", 403),
        ("clinic", "login", "/login", 200),
        ("clinic", "logout", "/logout", 200),
    ]
    with running_app.authenticator.database.read_transaction() as session:
        found = audit.list_latest(session, 100)
    assert {line.times for line in found if line.status == 401 and line.action == "refused"} == {30}, "one line, counted"
    assert tried not in str(found)


async def test_entries_cannot_be_forged(running_app: RunningApp) -> None:
    async with running_app.client("clinic") as clinic:
        await clinic.get("/v1/records/a%e2%80%a82026%c2%85admin%c2%a0delete%e2%80%ae")
    ((_, _, what, _),) = await lines(running_app)
    assert what.isprintable()
    assert what.startswith("/v1/records/a")


async def test_entries_are_kept_while_the_database_is_unavailable(
    running_app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = running_app.authenticator.database.write

    async def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("gone")

    async with running_app.client("clinic") as clinic:
        monkeypatch.setattr(running_app.authenticator.database, "write", away)
        for _ in range(3):
            await clinic.get("/v1/records")
            with pytest.raises(StoreUnavailable):
                await running_app.authenticator.audit_log.flush()
        monkeypatch.setattr(running_app.authenticator.database, "write", whole)
    assert await lines(running_app) == [("clinic", "read", "/v1/records", 200)]
    with running_app.authenticator.database.read_transaction() as session:
        assert audit.list_latest(session, 1)[0].times == 3


async def test_reading_waits_for_entries_being_written(running_app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> None:
    trail, run = running_app.authenticator.audit_log, running_app.authenticator.database.write
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*work: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await run(*work)

    monkeypatch.setattr(running_app.authenticator.database, "write", slow)
    trail.record(None, "read", "/v1/records/1")
    writing = asyncio.create_task(trail.flush())
    await begun.wait()
    looking = asyncio.create_task(lines(running_app))
    await asyncio.sleep(0.05)
    assert not looking.done()
    go_on.set()
    assert await looking == [("", "read", "/v1/records/1", 200)]
    await writing


async def test_old_entries_are_deleted_by_retention(database: Database, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, security={"audit_days": 30})
    now = utc_now()
    with database.transaction() as session:
        for days in (1, 29, 31, 400):
            at = now - timedelta(days=days)
            audit.append(session, [audit.AuditEntry(new_id(), "a", at, "a", "", "read", f"/{days}", 200, 1, "")])
    recorder = Recorder(database, settings)
    await Retention(database, recorder, settings, Timekeeper(database, recorder.clock)).sweep()
    with database.read_transaction() as session:
        assert sorted(line.what for line in audit.list_latest(session, 9)) == ["/1", "/29"]


async def test_closing_writes_pending_entries(build: Build) -> None:
    running_app = await build()
    async with running_app.client(address="127.0.0.1") as here:
        await here.get("/v1/records")
    await running_app.authenticator.close()
    with running_app.authenticator.database.read_transaction() as session:
        assert [(line.who, line.action) for line in audit.list_latest(session, 9)] == [("local", "read")]
