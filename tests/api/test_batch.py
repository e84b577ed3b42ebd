"""Batches: many files and ZIPs, in honest and in hostile forms."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.config import ImageSettings, JobSettings, PipelineSettings, Settings
from hunyuanocr.errors import BadRequest, BatchTooLarge
from hunyuanocr.services.jobs.zip_upload import UploadLimits, expand_uploads
from tests.api.conftest import open_client
from tests.support.app_client import AppClient
from tests.support.fake_backend import FakeBackend, picture, wait_until

LIMITS = UploadLimits(files=50, each=20_000, all=100_000)


@pytest.fixture
async def shop(reader: FakeBackend, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`await shop(batch_files=3)` → a client of an API with a database of its own."""
    async with AsyncExitStack() as stack:

        async def make(**jobs: Any) -> AppClient:
            settings = Settings(
                data=tmp_path / "data",
                images=ImageSettings(max_bytes=20_000),
                pipeline=PipelineSettings(cache_mb=0),
                jobs=JobSettings(**jobs),
            )
            return await open_client(stack, settings, reader)

        yield make


def packed(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


async def send(client: Any, *files: tuple[str, bytes], headers: dict[str, str] | None = None, **extra: Any) -> Any:
    return await client.post("/v1/batch", files=[("file", file) for file in files], data=extra, headers=headers)


async def over(client: Any, id: Any) -> Any:
    while (batch := (await client.get(f"/v1/batch/{id}")).json())["status"] != "done":
        await asyncio.sleep(0.01)
    return batch


async def lines(client: Any, id: Any) -> list[Any]:
    r = await client.get(f"/v1/batch/{id}/results")
    assert r.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in r.text.splitlines()]


async def test_many_files_and_a_zip_in_one_request(shop: Callable[..., Any], reader: FakeBackend) -> None:
    reader.text = "Total: 36.80"
    client = await shop()
    archive = packed(
        **{"x/b.png": picture(2), "收据.png": picture(3), "notes.txt": b"hello", "__MACOSX/x": b"x", ".DS_Store": b"x"}
    )
    r = await send(
        client, ("a.png", picture(1)), ("till.zip", archive), ("big.png", picture(1) + b"x" * 30_000), instruction="总金额"
    )
    assert r.status_code == 202, r.text
    batch = r.json()
    assert batch["total"] == 5
    assert r.headers["location"] == f"/v1/batch/{batch['id']}"
    batch = await over(client, batch["id"])
    assert {k: batch[k] for k in ("total", "done", "failed", "queued", "running", "cancelled")} == {
        "total": 5,
        "done": 3,
        "failed": 2,
        "queued": 0,
        "running": 0,
        "cancelled": 0,
    }
    found = await lines(client, batch["id"])
    assert [job["file"] for job in found] == ["a.png", "x/b.png", "收据.png", "notes.txt", "big.png"]
    assert [(job["error"] or {}).get("code") for job in found] == [None, None, None, "unsupported_media_type", "image_too_large"]
    assert found[2]["result"]["fields"] == {"total_amount": "36.80"}
    table = (await client.get(f"/v1/batch/{batch['id']}/results?format=csv")).content.decode("utf-8-sig")
    head, *rows = csv.reader(io.StringIO(table))
    assert head == ["file", "job", "status", "total_amount", "error"]
    assert [(row[0], row[2], row[3], row[4]) for row in rows][2:4] == [
        ("收据.png", "done", "36.80", ""),
        ("notes.txt", "failed", "", "unsupported_media_type"),
    ]
    assert (await client.get(f"/v1/jobs/{found[0]['id']}")).json()["batch_id"] == batch["id"]


async def test_the_same_key_is_the_same_batch(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    key = {"Idempotency-Key": "day-1"}
    first, again = [await send(client, ("a.png", picture(1)), ("b.png", picture(2)), headers=key) for _ in range(2)]
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (await send(client, ("a.png", picture(1)), headers=key)).status_code == 409
    await over(client, first.json()["id"])
    assert len((await client.get("/v1/jobs")).json()["data"]) == 2
    assert reader.begun == 2


async def test_a_batch_is_cancelled(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop()
    reader.gate = asyncio.Event()
    id = (await send(client, *((f"{n}.png", picture(n)) for n in range(4)))).json()["id"]
    await wait_until(lambda: reader.now == 1)
    r = await client.delete(f"/v1/batch/{id}")
    assert (r.json()["status"], r.json()["cancelled"]) == ("done", 4)
    assert reader.begun == 1


async def test_a_batch_is_accepted_as_a_whole_or_not_at_all(shop: Callable[..., Any], reader: FakeBackend) -> None:
    client = await shop(queue=3)
    reader.gate = asyncio.Event()
    r = await send(client, *((f"{n}.png", picture(n)) for n in range(4)))
    assert (r.status_code, r.json()["code"]) == (429, "queue_full")
    assert (await client.get("/v1/jobs")).json()["data"] == []
    assert (await send(client, *((f"{n}.png", picture(n)) for n in range(3)))).status_code == 202


@pytest.mark.parametrize(
    ("files", "status", "code"),
    [
        ([], 400, "bad_request"),
        ([("a.zip", packed())], 400, "empty_input"),
        ([("a.zip", packed(a=picture())[:-30])], 400, "bad_request"),
        ([(f"{n}.png", picture()) for n in range(6)], 413, "batch_too_large"),
        ([("a.zip", packed(**{f"{n}.png": picture() for n in range(6)}))], 413, "batch_too_large"),
    ],
)
async def test_bad_batches_are_refused(shop: Callable[..., Any], files: list[Any], status: int, code: str) -> None:
    client = await shop(batch_files=5)
    r = await client.post(
        "/v1/batch", files=[("file", f) for f in files], headers={} if files else {"content-type": "multipart/form-data"}
    )
    assert (r.status_code, r.json()["code"]) == (status, code), r.text


async def test_other_content_types_are_rejected(shop: Callable[..., Any]) -> None:
    client = await shop()
    assert (await client.post("/v1/batch", json={"image": "x"})).status_code == 415
    assert (await send(client, ("a.png", picture()), task="chart")).status_code == 422
    assert (await client.get("/v1/batch/none")).status_code == 404
    assert (await client.delete("/v1/batch/none")).status_code == 404
    assert (await client.get("/v1/batch/none/results")).status_code == 404


def zip_with_names(*names: Any, extra: Any = b"") -> Any:
    """A ZIP whose entries have these bytes as names, without the flag of UTF-8."""
    out = io.BytesIO()
    substitutes = [bytes([ord("A") + number]) * len(name) for number, name in enumerate(names)]
    with zipfile.ZipFile(out, "w") as archive:
        for substitute in substitutes:
            entry = zipfile.ZipInfo(substitute.decode())
            entry.extra = extra
            archive.writestr(entry, picture())
    data = out.getvalue()
    for substitute, name in zip(substitutes, names, strict=True):
        data = data.replace(substitute, name)
    return data


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["小票.jpg"]),  # valid UTF-8 by accident: "СƱ"
        ("gbk", ["药.jpg"]),
        ("gbk", ["张三的处方.jpg", "微信图片_20241120.jpg"]),
        ("big5", ["統一發票.jpg", "陳先生.jpg"]),
        ("cp932", ["領収書.jpg"]),
        ("cp932", ["レシート.jpg", "田中 1.jpg"]),
        ("cp437", ["März.jpg", "Beleg_Köln.jpg"]),
        ("utf-8", ["小票.jpg"]),
        ("utf-8", ["чек.jpg"]),
        ("utf-8", ["März.jpg", "reçu.jpg"]),
        ("utf-8", ["영수증.jpg"]),
    ],
)
def test_names_in_a_zip_are_read_in_the_encoding_of_their_system(encoding: Any, names: Any) -> None:
    data = zip_with_names(*(name.encode(encoding) for name in names))
    assert [file.name for file in expand_uploads([("x", data)], LIMITS)] == names


def test_a_declared_name_in_utf8_has_precedence() -> None:
    """The flag, or the extra field of Info-ZIP, if it belongs to this name."""
    assert [f.name for f in expand_uploads([("x", packed(**{"Ʊ.png": picture()}))], LIMITS)] == ["Ʊ.png"]
    utf8 = "票.png".encode()
    for crc, expected in ((zlib.crc32(b"y.png"), "票.png"), (1, "y.png")):
        extra = struct.pack("<HHBI", 0x7075, 5 + len(utf8), 1, crc) + utf8
        data = zip_with_names(b"y.png", extra=extra)
        assert [f.name for f in expand_uploads([("x", data)], LIMITS)] == [expected]


def test_names_are_labels_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = expand_uploads(
        [("../../up.png", picture()), ("x", packed(**{"../../etc/x.png": picture(), "/abs.png": picture()}))], LIMITS
    )
    assert [f.name for f in found] == ["../../up.png", "../../etc/x.png", "/abs.png"]
    assert not list(tmp_path.iterdir())


def test_zip_bombs_are_rejected() -> None:
    bomb = packed(**{"a.png": b"\0" * 50_000_000})
    assert len(bomb) < 100_000
    (found,) = expand_uploads([("x", bomb)], LIMITS)
    assert (found.data, found.failure.code) == (None, "image_too_large")
    many = packed(**{f"{n}.png": picture() + b"\0" * 19_000 for n in range(20)})
    with pytest.raises(BatchTooLarge, match="unpacked"):
        expand_uploads([("x", many)], LIMITS)


def test_an_entry_with_a_false_size_is_rejected() -> None:
    data = packed(**{"a.png": picture() + b"\0" * 10_000})
    at = data.index(b"PK\x01\x02")
    lying = data[:24].replace(data[22:26], b"") + data[24:]  # a shorter local header: everything after is shifted
    small = data[: at + 24] + struct.pack("<I", 10) + data[at + 28 :]
    for broken in (lying, small, data[: at - 5] + data[at:]):
        try:
            found = expand_uploads([("x", broken)], LIMITS)
        except BadRequest:
            continue
        assert all(f.data is None or len(f.data) <= LIMITS.each for f in found)


def test_an_encrypted_zip_is_rejected() -> None:
    data = bytearray(packed(**{"a.png": picture()}))
    data[6] |= 1  # the flag of the local header, then of the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BadRequest, match="encrypted"):
        expand_uploads([("x", bytes(data))], LIMITS)


def test_too_many_entries_are_refused() -> None:
    with pytest.raises(BatchTooLarge):
        expand_uploads([("x", packed(**{f"{n}.png": b"x" for n in range(51)}))], LIMITS)
