"""Records on their way to HQ: sealed, each once at HQ, whatever the network, the clock and the machines do on the way."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.hq_receiver import create_receiver, store_batch
from hunyuanocr.clock import Clock
from hunyuanocr.config import Settings, StoreSettings, SyncSettings
from hunyuanocr.errors import BadRequest, ConfigError
from hunyuanocr.services.container import create_sync
from hunyuanocr.services.encryption import decrypt_batch, encrypt_batch, generate_keypair, private_key, public_key
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.retention import delete_records
from hunyuanocr.services.sync import Sync
from hunyuanocr.store import audit, outbox
from hunyuanocr.store.database import Database
from tests.store.results import ITEMS, TOTAL, result

PRIVATE, PUBLIC = generate_keypair()


class Hq(httpx.AsyncBaseTransport):
    """The reference receiver behind a network that does what a test wants; each call of `fault` may answer or raise first."""

    def __init__(self, database: Path, token: str | None = None) -> None:
        self.database = database
        self.inner = httpx.ASGITransport(create_receiver(private_key(PRIVATE), database, token))
        self.fault: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self.lose_answers = 0
        self.seen: list[Any] = []

    async def handle_async_request(self, request: Any) -> httpx.Response:
        self.seen.append(request)
        if (answer := self.fault(request)) is not None:
            return answer
        answer = await self.inner.handle_async_request(request)
        if self.lose_answers:
            self.lose_answers -= 1
            raise httpx.ReadTimeout("the answer was lost")
        return answer

    def rows(self) -> list[Any]:
        if not self.database.exists():
            return []
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute("SELECT id, batch, record FROM records ORDER BY rowid").fetchall()
        finally:
            connection.close()


class Time:
    """A clock that only sleeping moves: weeks pass in no time. `alarm` ends a sender at a moment."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 12, tzinfo=UTC).astimezone()
        self.naps: list[Any] = []
        self.events: list[Any] = []  # (moment, what happens then)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: Any) -> None:
        self.naps.append(seconds)
        self.now += timedelta(seconds=seconds)
        for moment, event in [e for e in self.events if e[0] <= self.now]:
            self.events.remove((moment, event))
            if (going := event()) is not None:
                await going  # as long as the nap: how soon it gets a thread is no part of the weeks
        await asyncio.sleep(0)

    def at(self, hours: int, event: Callable[..., Any]) -> None:
        self.events.append((self.now + timedelta(hours=hours), event))


class Shop:
    def __init__(self, database: Database, tmp_path: Path, hq: Hq, **settings: Any) -> None:
        given = {"enabled": True, "url": "https://hq.test/v1/batches", "public_key": PUBLIC, "site": "店1"} | settings
        self.settings = Settings(data=tmp_path, sync=SyncSettings(**given))
        self.time = Time()
        self.recorder = Recorder(database, self.settings, clock=Clock(self.time))
        self.database, self.hq = database, hq
        self.sync = self.sender()

    def sender(self) -> Sync:
        return Sync(
            self.database,
            self.settings.sync,
            clock=self.time,
            sleep=self.time.sleep,
            spread=lambda low, high: high,
            transport=self.hq,
        )

    async def record(self, n: Any = 1, **about: Any) -> list[Any]:
        made = [result(f"text {i}", fields=(TOTAL, ITEMS)) for i in range(n)]
        for answer in made:
            self.time.now += timedelta(seconds=1)
            made_ready = self.recorder.prepare(answer, owner="local", source="ocr", **about)
            await self.database.write(self.recorder.write, made_ready)
        return [answer.id for answer in made]

    async def waiting(self) -> int:
        return (await self.database.read(outbox.waiting)).records


@pytest.fixture
def hq(tmp_path: Path) -> Hq:
    return Hq(tmp_path / "hq.db")


@pytest.fixture
def shop(database: Database, tmp_path: Path, hq: Hq) -> Shop:
    return Shop(database, tmp_path, hq)


async def test_records_arrive_once_sealed_and_in_order(shop: Shop, hq: Hq) -> None:
    ids = await shop.record(3, device="收银台1", instruction="secret words")
    await shop.sync.send_all()
    rows = hq.rows()
    assert [row[0] for row in rows] == ids
    assert await shop.waiting() == 0
    record = json.loads(rows[0][2])
    assert (record["device"], record["fields"]["total_amount"], record["owner"]) == ("收银台1", "¥36.80", "local")
    assert "text" not in record
    assert "instruction" not in record
    sent = hq.seen[0].content
    assert b"36.80" not in sent
    assert decrypt_batch(sent, private_key(PRIVATE))["site"] == "店1"
    await shop.sync.send_all()
    assert len(hq.seen) == 1, "nothing is sent when nothing waits"


async def test_what_went_to_hq_stands_in_the_audit_log(shop: Shop, hq: Hq) -> None:
    first, second = await shop.record(2)
    answers = iter([httpx.Response(503)])
    hq.fault = lambda request: next(answers, None)
    await shop.sync.send_all()
    lines = await shop.database.read(audit.list_latest, 10)
    batch = hq.rows()[0][1]
    assert {(line.who, line.action, line.address, line.request_id) for line in lines} == {("sync", "send", "hq.test", batch)}
    assert len(lines) == 2, "once, when HQ has it"
    assert {line.what for line in lines} == {f"/v1/records/{first}", f"/v1/records/{second}"}
    found = await shop.database.read(lambda conn: audit.list_latest(conn, 10, what=second))
    assert [line.what for line in found] == [f"/v1/records/{second}"]


async def test_which_fields_go_is_the_owners_choice(database: Database, tmp_path: Path, hq: Hq) -> None:
    shop = Shop(database, tmp_path, hq, fields=["items"], text=True)
    await shop.record(instruction="提取")
    await shop.sync.send_all()
    record = json.loads(hq.rows()[0][2])
    assert set(record["fields"]) == {"items"}
    assert (record["text"], record["instruction"]) == ("text 0", "提取")


async def test_switched_off_nothing_waits(database: Database, tmp_path: Path) -> None:
    recorder = Recorder(database, Settings(data=tmp_path))
    await recorder.record(result(), owner="local", source="ocr")
    assert (await database.read(outbox.waiting)).records == 0


async def test_an_answer_that_was_lost_makes_no_second_record(shop: Shop, hq: Hq) -> None:
    ids = await shop.record(2)
    hq.lose_answers = 2
    await shop.sync.send_all()
    assert [row[0] for row in hq.rows()] == ids
    assert len({request.headers["x-batch-id"] for request in hq.seen}) == 1, "the batch keeps its id"
    assert len(hq.seen) == 3
    assert await shop.waiting() == 0


async def test_a_sender_that_died_goes_on_with_the_same_batch(shop: Shop, hq: Hq) -> None:
    await shop.record(2)

    def dies(request: Any) -> None:
        raise KeyboardInterrupt

    hq.fault = dies
    with pytest.raises(KeyboardInterrupt):
        await shop.sync.send_all()
    late = await shop.record(1)
    hq.fault = lambda request: None
    await shop.sender().send_all()
    first, second, third = [request.headers["x-batch-id"] for request in hq.seen]
    assert first == second != third
    assert [row[0] for row in hq.rows()][-1:] == late


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_hq_is_away_for_a_week(shop: Shop, hq: Hq, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty records a day meanwhile; all arrive when it is back, the oldest first, in bounded batches."""
    shop.sync.max_batch_records = 50
    hq.fault = lambda request: httpx.Response(503)
    ids = await shop.record(20)
    made = []

    def another_day() -> Any:
        made.append(asyncio.ensure_future(shop.record(20)))
        return made[-1]

    for day in range(1, 7):
        shop.time.at(24 * day, another_day)
    shop.time.at(24 * 7, lambda: setattr(hq, "fault", lambda request: None))
    state = None

    def read_state() -> Any:
        nonlocal state
        state = asyncio.ensure_future(shop.sync.state())
        return state

    shop.time.at(24 * 6 + 12, read_state)
    await shop.sync.send_all()
    for task in made:
        ids += await task
    await shop.sync.send_all()
    assert sorted(row[0] for row in hq.rows()) == sorted(ids)
    assert len(ids) == 140
    assert (await state).last_error.startswith("HQ did not confirm")
    assert (await state).sending
    assert max(shop.time.naps) == 900.0
    assert shop.time.naps[:4] == [2.0, 4.0, 8.0, 16.0]
    sizes: dict[Any, Any] = {}
    for _, batch, _ in hq.rows():
        sizes[batch] = sizes.get(batch, 0) + 1
    assert max(sizes.values()) <= 50
    after = await shop.sync.state()
    assert (after.waiting, after.last_error, after.sending) == (0, None, False)
    assert after.last_success is not None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>Welcome to our hotel</html>"),
        httpx.Response(200, json={"batch": "another"}),
        httpx.Response(302, headers={"location": "https://elsewhere.test"}),
        httpx.Response(401),
        httpx.Response(200, json=[]),
    ],
)
async def test_only_hqs_own_word_counts(shop: Shop, hq: Hq, answer: Any) -> None:
    await shop.record()
    hq.fault = lambda request: answer if len(hq.seen) == 1 else None
    await shop.sync.send_all()
    assert len(hq.seen) == 2
    assert len(hq.rows()) == 1


async def test_a_mistake_of_ours_does_not_end_it(shop: Shop, hq: Hq, caplog: pytest.LogCaptureFixture) -> None:
    await shop.record()

    def broken(request: Any) -> None:
        if len(hq.seen) == 1:
            raise ZeroDivisionError

    hq.fault = broken
    await shop.sync.send_all()
    assert len(hq.rows()) == 1
    assert "ZeroDivisionError" in caplog.text


async def test_hq_may_ask_for_patience(shop: Shop, hq: Hq) -> None:
    await shop.record()
    hq.fault = lambda request: httpx.Response(503, headers={"Retry-After": "120"}) if len(hq.seen) == 1 else None
    await shop.sync.send_all()
    assert shop.time.naps == [120.0]


async def test_a_token(database: Database, tmp_path: Path) -> None:
    hq = Hq(tmp_path / "hq.db", token="right")
    shop = Shop(database, tmp_path, hq, token=SecretStr("wrong"))
    await shop.record()
    shop.time.at(1, lambda: object.__setattr__(shop.settings.sync, "token", SecretStr("right")))
    await shop.sync.send_all()
    assert len(hq.rows()) == 1
    assert len(hq.seen) > 2


async def test_what_was_deleted_before_it_was_sent_is_not_sent(shop: Shop, hq: Hq) -> None:
    first, second = await shop.record(2)
    await shop.database.write(delete_records, shop.recorder.pictures, "local", [first])
    await shop.sync.send_all()
    assert [row[0] for row in hq.rows()] == [second]


async def test_long_records_make_small_batches(shop: Shop, hq: Hq, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.sync.max_batch_bytes = 10
    ids = await shop.record(3)
    await shop.sync.send_all()
    assert len(hq.seen) == 3
    assert [row[0] for row in hq.rows()] == ids


async def until(shop: Shop, moment: datetime, sync: Sync | None = None) -> None:
    """Let it run on its schedule until a moment of its own clock."""
    running = asyncio.create_task((sync or shop.sync).run())
    while shop.time.now < moment and not running.done():
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def local(shop: Shop, day: int, hour: int) -> datetime:
    return shop.time.now.replace(day=day, hour=hour, minute=0, second=0, microsecond=0)


async def test_it_sends_when_the_schedule_says_so(shop: Shop, hq: Hq) -> None:
    shop.time.now = local(shop, 20, 12)
    await shop.record()
    await until(shop, local(shop, 21, 2))
    assert hq.rows() == []
    await until(shop, local(shop, 21, 4))
    assert len(hq.rows()) == 1
    assert (await shop.sync.state()).next_run == local(shop, 22, 3)


async def test_a_run_that_was_missed_is_made_at_the_start(shop: Shop, hq: Hq) -> None:
    shop.time.now = local(shop, 20, 12)
    await shop.sync.send_all()  # the latest run
    await shop.record()
    shop.time.now = local(shop, 22, 8)  # it was switched off over two nights
    await until(shop, local(shop, 22, 9), shop.sender())
    assert len(hq.rows()) == 1


async def test_a_shop_that_is_off_at_night_sends_its_first_batch_too(shop: Shop, hq: Hq) -> None:
    shop.time.now = local(shop, 20, 12)
    await shop.record()
    await until(shop, local(shop, 20, 18), shop.sender())
    shop.time.now = local(shop, 21, 8)
    await until(shop, local(shop, 21, 9), shop.sender())
    assert len(hq.rows()) == 1


async def test_a_clock_that_is_set_back_does_not_silence_it(shop: Shop, hq: Hq) -> None:
    shop.time.now = local(shop, 20, 12).replace(year=2036)
    await shop.sync.send_all()
    await shop.record()
    shop.time.now = local(shop, 20, 12).replace(year=2016)
    await until(shop, local(shop, 21, 4), shop.sender())
    assert len(hq.rows()) == 1


@pytest.mark.parametrize(("wrong", "said"), [
    ({"url": None}, "sync.url"), ({"url": "http://hq.test/x"}, "sync.url"), ({"url": "ftp://hq.test"}, "sync.url"),
    ({"public_key": None}, "public key"), ({"public_key": "short"}, "public key"), ({"schedule": "every day"}, "sync.schedule"),
    ({"schedule": "0 0 30 2 *"}, "sync.schedule"), ({"ca_file": "/no/such/file"}, "sync.ca_file"),
])  # fmt: skip
def test_wrong_settings_are_reported_at_the_start(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    given = {"enabled": True, "url": "https://hq.test/x", "public_key": PUBLIC} | wrong
    settings = Settings(data=tmp_path, sync=SyncSettings(**given))
    database = Database(settings.database_url)
    with pytest.raises(ConfigError, match=said):
        create_sync(database, settings)
    database.close()


def test_without_a_store_there_is_nothing_to_send(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, store=StoreSettings(enabled=False), sync=SyncSettings(enabled=True))
    with pytest.raises(ConfigError, match="disabled"):
        create_sync(None, settings)


def test_only_hq_can_read_it(tmp_path: Path) -> None:
    sealed = encrypt_batch({"合计": "36.80"}, public_key(PUBLIC))
    assert decrypt_batch(sealed, private_key(PRIVATE)) == {"合计": "36.80"}
    other, _ = generate_keypair()
    damaged = bytearray(sealed)
    damaged[-1] ^= 1
    for bad, key in ((sealed, other), (bytes(damaged), PRIVATE), (b"", PRIVATE), (sealed[:-5], PRIVATE)):
        with pytest.raises(BadRequest):
            decrypt_batch(bad, private_key(key))


@pytest.mark.parametrize("message", [[], {}, {"batch": "b"}, {"batch": "b", "site": "s", "records": [{}]}, {"records": 3}, "x"])
def test_the_receiver_refuses_what_is_no_batch(tmp_path: Path, message: Any) -> None:
    with pytest.raises(BadRequest):
        store_batch(encrypt_batch(message, public_key(PUBLIC)), private_key(PRIVATE), tmp_path / "hq.db")


def test_a_batch_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BadRequest, match="too large"):
        decrypt_batch(encrypt_batch("x" * 2000, public_key(PUBLIC)), private_key(PRIVATE), max_bytes=1000)
