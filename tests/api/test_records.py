"""What was read through the API: searched, fetched, exported and deleted through the API."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest

from api.exports import MAX_COLUMNS, ExportLimits, export_limits
from hunyuanocr.config import PipelineSettings, Settings, StoreSettings, SyncSettings
from hunyuanocr.errors import StoreUnavailable
from hunyuanocr.services.encryption import generate_keypair
from hunyuanocr.store.database import Database
from hunyuanocr.store.records import Entry, insert
from hunyuanocr.types import Field, FieldType
from tests.api.conftest import open_client
from tests.store.results import ITEMS, NOON, TOTAL, kept, money
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture


class Shop:
    """A client of an API and the store behind it."""

    def __init__(self, client: AppClient) -> None:
        self.client = client
        self.services = client.services

    async def get(self, path: Any = "", **query: Any) -> httpx.Response:
        return await self.client.get(f"/v1/records{path}", params=query)

    async def found(self, **query: Any) -> list[Any]:
        r = await self.get(**query)
        assert r.status_code == 200, r.text
        return [record["id"] for record in r.json()["data"]]

    async def keep(self, *entries: Entry) -> list[Any]:
        for entry in entries:
            await self.services.store.write(insert, entry)
        return [entry.record.id for entry in entries]


@pytest.fixture
async def open_shop(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def make(database: Any = None, **store: Any) -> Shop:
            url = None if database is None else database.url.render_as_string(hide_password=False)
            settings = Settings(
                data=tmp_path / "data", store=StoreSettings(**{"url": url} | store), pipeline=PipelineSettings(cache_mb=0)
            )
            return Shop(await open_client(stack, settings, FakeBackend()))

        yield make


@pytest.fixture
async def shop(open_shop: Callable[..., Any], database: Database) -> Any:
    return await open_shop(database)


async def test_a_result_is_stored_as_a_record(shop: Any) -> None:
    r = await shop.client.post("/ocr", files={"file": picture()}, data={"instruction": "提取文字", "device": "收银台1"})
    answer = r.json()
    (record,) = (await shop.get()).json()["data"]
    assert (record["id"], record["text"], record["device"]) == (answer["id"], "#102030", "收银台1")
    assert (record["source"], record["instruction"], record["image"]) == ("ocr", "提取文字", False)
    assert (await shop.get(f"/{answer['id']}")).json()["result"] == answer
    assert abs(datetime.fromisoformat(record["created_at"]) - datetime.now().astimezone()) < timedelta(minutes=5)


@pytest.mark.parametrize("header", ["scanner-2", "收银台2"])
async def test_the_device_can_be_set_in_a_header(shop: Any, header: str) -> None:
    await shop.client.post("/v1/ocr", files={"file": picture()}, headers={"X-Device": header.encode()})
    assert len(await shop.found(device=header)) == 1
    assert await shop.found(device="other") == []


async def test_a_failed_request_leaves_no_record(shop: Any) -> None:
    assert (await shop.client.post("/ocr", files={"file": b"no picture"})).status_code == 415
    assert await shop.found() == []


async def test_a_stream_is_recorded_once(shop: Any) -> None:
    r = await shop.client.post("/ocr", files={"file": picture()}, data={"stream": "true"})
    assert r.status_code == 200
    assert len(await shop.found()) == 1


async def test_search(shop: Any) -> None:
    a, b = await shop.keep(
        kept("便民超市 合计", fields=(TOTAL, ITEMS), device="d1"), kept("Hospital", minutes=60, source="ws", fields=())
    )
    assert await shop.found() == [b, a]
    assert await shop.found(text="超市") == [a]
    assert await shop.found(text="hosp") == [b]
    assert await shop.found(field="items.name", value="面包") == [a]
    assert await shop.found(value="36.80", device="d1") == [a]
    assert await shop.found(source="ws", task="extract") == [b]
    assert await shop.found(since=(NOON + timedelta(minutes=30)).isoformat()) == [b]
    assert await shop.found(until="2026-11-20T12:30:00Z") == [a]
    assert await shop.found(since="2026-11-20T20:30:00+08:00") == [b]
    day = NOON.astimezone().date().isoformat()
    assert a in await shop.found(since=day, until=day)
    assert await shop.found(until="2026-11-18") == []
    r = await shop.client.get("/v1/records?since=2026-11-20T20:30:00+08:00")  # a plus sign that nobody escaped
    assert [record["id"] for record in r.json()["data"]] == [b]


async def test_pages(shop: Any) -> None:
    made = await shop.keep(*(kept(str(n), minutes=n // 3) for n in range(7)))
    seen, query = [], {"limit": 3}
    while True:
        body = (await shop.get(**query)).json()
        seen += [record["id"] for record in body["data"]]
        if body["next"] is None:
            break
        query["cursor"] = body["next"]
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7


@pytest.mark.parametrize("query", [
    {"devise": "x"}, {"since": "yesterday"}, {"until": "9999-12-31"}, {"limit": 0}, {"limit": 201}, {"cursor": "x"},
    {"cursor": "MjAyNi0xMS0yMFQxMjowMDowMHx4"},
    {"cursor": "MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OXx4"}, {"since": "0001-01-01"}, {"text": "x" * 1001},
])  # fmt: skip
async def test_invalid_search_parameters_are_rejected(shop: Any, query: dict[str, Any]) -> None:
    r = await shop.get(**query)
    assert (r.status_code, r.json()["code"]) == (422, "invalid_value")


@pytest.mark.parametrize("odd", ["\x00", "%", "_", "'", '"', "\\", "a\x00b"])
async def test_special_characters_can_be_searched(shop: Any, odd: str) -> None:
    (id,) = await shop.keep(kept(f"a{odd}b"))
    await shop.keep(kept("plain"))
    for name in ("text", "value", "field", "device"):
        assert await shop.found(**{name: odd}) == ([id] if name == "text" else [])


@pytest.mark.parametrize("id", ["none", "%00", "..%2f..%2fx", "a" * 500])
async def test_unknown_records_are_404(shop: Any, id: str) -> None:
    for answer in (await shop.get(f"/{id}"), await shop.get(f"/{id}/image"), await shop.client.delete(f"/v1/records/{id}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_records_of_other_owners_are_404(shop: Any) -> None:
    (id,) = await shop.keep(kept("secret", owner="somebody else"))
    assert (await shop.get(f"/{id}")).status_code == 404
    assert (await shop.get(f"/{id}/image")).status_code == 404
    assert (await shop.client.delete(f"/v1/records/{id}")).status_code == 404
    assert await shop.found(text="secret") == []
    for form in ("csv", "jsonl"):
        assert b"secret" not in (await shop.get("/export", format=form)).content


async def test_an_image_is_stored_served_and_deleted(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = await open_shop(keep_images=True)
    sent = picture(form="WEBP")
    id = (await shop.client.post("/ocr", files={"file": sent})).json()["id"]
    r = await shop.get(f"/{id}/image")
    assert (r.status_code, r.content, r.headers["content-type"]) == (200, sent, "image/webp")
    assert r.headers["x-content-type-options"] == "nosniff"
    assert (await shop.client.delete(f"/v1/records/{id}")).status_code == 204
    assert (await shop.get(f"/{id}")).status_code == 404
    assert (await shop.client.delete(f"/v1/records/{id}")).status_code == 404
    assert [p for p in (tmp_path / "data" / "images").rglob("*") if p.is_file()] == []


async def test_images_are_not_stored_by_default(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = await open_shop()
    id = (await shop.client.post("/ocr", files={"file": picture()})).json()["id"]
    assert (await shop.get(f"/{id}/image")).json()["code"] == "not_found"
    assert not (tmp_path / "data" / "images").exists()


async def test_deleted_text_is_removed_from_the_database_files(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = await open_shop()
    (id,) = await shop.keep(kept("diagnosis-4711", fields=(Field("illness", FieldType.TEXT, "diagnosis-4711"),)))

    def found() -> bool:
        return any(b"diagnosis-4711" in p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file())

    assert found()
    await shop.client.delete(f"/v1/records/{id}")
    assert not found()


async def test_csv(shop: Any) -> None:
    odd = Field("=1+1", FieldType.TEXT, '=HYPERLINK("http://x")')
    minus = Field("minus", FieldType.MONEY, "-5.00")
    first, second = await shop.keep(
        kept("a", fields=(TOTAL, ITEMS)), kept("=cmd|'/c calc'!A0\n第二行", minutes=1, fields=(odd, minus), device="@x")
    )
    r = await shop.get("/export")
    assert r.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in r.headers["content-disposition"]
    assert r.content.startswith(b"\xef\xbb\xbf")
    head, new, old = csv.reader(io.StringIO(r.content.decode("utf-8-sig"), newline=""))
    assert head[:6] == ["id", "time", "device", "source", "task", "instruction"]
    assert head[6:] == ["'=1+1", "items", "minus", "total_amount", "confidence", "warnings", "text"]
    assert (new[0], new[2], new[6], new[8], new[-1]) == (
        second,
        "'@x",
        '\'=HYPERLINK("http://x")',
        "-5.00",
        "'=cmd|'/c calc'!A0\n第二行",
    )
    assert (old[0], old[9], old[6]) == (first, "¥36.80", "")
    assert json.loads(old[7])[1] == {"name": "面包", "amount": "27.80"}
    assert datetime.fromisoformat(old[1]) == NOON
    assert datetime.fromisoformat(old[1]).utcoffset() == NOON.astimezone().utcoffset(), "in the local zone, which it names"
    only = (await shop.get("/export", device="@x")).content.decode("utf-8-sig")
    assert first not in only
    assert "total_amount" not in only


async def test_xlsx(shop: Any) -> None:
    await shop.keep(kept("=1+1", fields=(TOTAL,)), kept("x" * 40_000, minutes=1, fields=()))
    r = await shop.get("/export", format="xlsx")
    assert int(r.headers["content-length"]) == len(r.content)
    sheet = openpyxl.load_workbook(io.BytesIO(r.content)).active
    head, long, formula = sheet.iter_rows(values_only=True)
    assert head[6] == "total_amount"
    assert formula[6] == "¥36.80"
    assert len(long[-1]) == 32_767
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(r.content)).read("xl/worksheets/sheet1.xml")


async def test_a_full_worksheet_is_followed_by_another(shop: Any) -> None:
    shop.client.app.dependency_overrides[export_limits] = lambda: ExportLimits(max_rows=4)
    await shop.keep(*(kept(f"row {n}", minutes=n) for n in range(7)))
    book = openpyxl.load_workbook(io.BytesIO((await shop.get("/export", format="xlsx")).content))
    rows = [list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets]
    assert [len(some) for some in rows] == [4, 4, 2]
    assert {some[0] for some in rows} == {rows[0][0]}
    assert sorted(row[-1] for some in rows for row in some[1:]) == [f"row {n}" for n in range(7)]


async def test_json_lines_contain_whole_results(shop: Any) -> None:
    shop.client.app.dependency_overrides[export_limits] = lambda: ExportLimits(page_size=10)
    made = await shop.keep(*(kept(str(n), minutes=n) for n in range(7)))
    lines = (await shop.get("/export", format="jsonl")).text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == made[::-1]
    assert json.loads(lines[0]) == (await shop.get(f"/{made[-1]}")).json()


async def test_an_empty_export(shop: Any) -> None:
    assert (await shop.get("/export")).content.decode("utf-8-sig").startswith('"id","time",')
    assert (await shop.get("/export", format="jsonl")).content == b""
    assert (await shop.get("/export", format="xlsx")).content.startswith(b"PK")
    assert (await shop.get("/export", format="pdf")).status_code == 422


async def test_the_number_of_columns_is_limited(open_shop: Callable[..., Any]) -> None:
    shop = await open_shop()
    await shop.keep(kept(fields=tuple(money(f"f{n:04}", "1", "1") for n in range(MAX_COLUMNS + 20))))
    head = next(csv.reader(io.StringIO((await shop.get("/export")).content.decode("utf-8-sig"))))
    assert len(head) == MAX_COLUMNS + 9
    assert "f0000" in head


def warned(answer: Any) -> list[Any]:
    """Not that the picture is so small."""
    return [w["code"] for w in answer.json()["warnings"] if w["code"] != "low_resolution"]


async def test_sync_status(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = await open_shop()
    off = (await shop.client.get("/v1/sync")).json()
    assert (off["enabled"], off["waiting"], off["next_run"], off["last_error"]) == (False, 0, None, None)
    sync = SyncSettings(enabled=True, url="https://127.0.0.1:1/x", public_key=generate_keypair()[1], schedule="0 0 29 2 *")
    async with AsyncExitStack() as stack:
        settings = Settings(data=tmp_path / "sending", sync=sync, pipeline=PipelineSettings(cache_mb=0))
        client = await open_client(stack, settings, FakeBackend())
        await client.post("/ocr", files={"file": picture()})
        body = (await client.get("/v1/sync")).json()
    assert (body["enabled"], body["waiting"], body["sending"], body["last_success"]) == (True, 1, False, None)
    assert datetime.fromisoformat(body["oldest"]).tzinfo is not None
    assert datetime.fromisoformat(body["next_run"]).day == 29


async def test_a_disabled_store(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    shop = await open_shop(enabled=False)
    answer = await shop.client.post("/ocr", files={"file": picture()})
    assert warned(answer) == []
    r = await shop.get()
    assert (r.status_code, r.json()["code"]) == (404, "store_off")
    assert "store.enabled" in r.json()["hint"]
    assert not (tmp_path / "data").exists()
    assert (await shop.client.get("/ready")).json()["store"] == "off"


async def test_requests_succeed_while_the_store_is_unavailable(open_shop: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    shop = await open_shop()
    answer = await shop.client.post("/ocr", files={"file": picture()})
    assert answer.status_code == 200
    assert warned(answer) == ["not_recorded"]
    assert answer.json()["text"] == "#102030"
    for path in ("", "/x", "/export", "/export?format=xlsx", "/export?format=jsonl"):
        r = await shop.client.get(f"/v1/records{path}")
        assert (r.status_code, r.json()["code"]) == (503, "store_unavailable")
        assert int(r.headers["retry-after"]) > 0
        assert "data" in r.json()["hint"]
    ready = await shop.client.get("/ready")
    assert ready.status_code == 200, "it reads; a balancer must not take it away"
    assert "folder" in ready.json()["store"]
    (tmp_path / "data").unlink()
    shop.services.recorder.retry_at = 0.0
    assert warned(await shop.client.post("/ocr", files={"file": picture()})) == []
    assert len(await shop.found()) == 1
    assert (await shop.client.get("/ready")).json()["store"] == "ok"


async def test_a_database_failure_ends_an_export(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file that looks whole and is not."""
    shop.client.app.dependency_overrides[export_limits] = lambda: ExportLimits(page_size=5)
    await shop.keep(*(kept(str(n), minutes=n) for n in range(4)))
    query = shop.services.store.read
    asked = []

    async def once(*arguments: Any) -> Any:
        asked.extend([1] if arguments[0].__module__ == "hunyuanocr.store.records" else [])  # others ask in between
        if len(asked) > 2:
            raise StoreUnavailable("gone")
        return await query(*arguments)

    monkeypatch.setattr(shop.services.store, "read", once)
    with pytest.raises((StoreUnavailable, RuntimeError)):
        await shop.get("/export", format="jsonl")
