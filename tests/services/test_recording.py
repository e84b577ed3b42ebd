"""The Recorder and the retention: every answer kept once, for as long as the owner wants, and answers go out without a store."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.clock import Clock, utc_now
from hunyuanocr.config import Settings, StoreSettings
from hunyuanocr.errors import StoreUnavailable
from hunyuanocr.services import recorder as recording
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.retention import Retention, delete_records
from hunyuanocr.services.timekeeper import Timekeeper
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.search import RecordQuery
from tests.store.results import NOON, result


class Hand:
    """A wall and a stopwatch, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.seconds = NOON, 0.0

    def __call__(self) -> datetime:
        return self.wall

    def ticks(self) -> float:
        return self.seconds

    def pass_(self, **time: Any) -> None:
        self.wall += timedelta(**time)
        self.seconds += timedelta(**time).total_seconds()


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, store=StoreSettings(keep_images=True, retention_days=30, image_days=10))


@pytest.fixture
def recorder(database: Database, settings: Settings, clock: Hand) -> Recorder:
    return Recorder(database, settings, clock=Clock(clock, clock.ticks))


@pytest.fixture
def retention(database: Database, recorder: Recorder, settings: Settings, clock: Hand) -> Retention:
    return Retention(database, recorder, settings, Timekeeper(database, recorder.clock, shared=False))


async def ids(recorder: Any, **expected: Any) -> list[Any]:
    found = await recorder.database.read(records.search, RecordQuery(**{"owner": "local"} | expected), 100)
    return [r.id for r in found]


async def test_an_answer_is_kept_once_and_given_back_unchanged(recorder: Any) -> None:
    answer = result()
    for _ in range(2):
        about = {"owner": "local", "source": "ocr", "instruction": "提取总金额", "device": "d"}
        assert await recorder.record(answer, **about) is answer
    assert await ids(recorder, device="d", source="ocr") == [answer.id]
    record, _ = await recorder.database.read(records.get, "local", answer.id)
    assert (record.created_at, record.instruction, record.image) == (NOON, "提取总金额", None)


async def test_a_picture_is_kept_if_the_owner_says_so(recorder: Recorder, tmp_path: Path) -> None:
    answer = result()
    await recorder.record(answer, owner="local", source="ocr", image=b"picture")
    record, _ = await recorder.database.read(records.get, "local", answer.id)
    assert recorder.pictures.path(record.image).read_bytes() == b"picture"
    other = Recorder(recorder.database, Settings(data=tmp_path / "other"))
    await other.record(again := result(), owner="local", source="ocr", image=b"picture")
    record, _ = await recorder.database.read(records.get, "local", again.id)
    assert record.image is None
    assert not (tmp_path / "other").exists()


async def test_a_picture_that_cannot_be_kept_costs_only_itself(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "images").write_text("a file where the folder should be")
    kept = await recorder.record(answer := result(), owner="local", source="ocr", image=b"picture")
    assert [n.code for n in kept.notices] == ["blurred", "image_not_kept"]
    assert await ids(recorder) == [answer.id]


async def test_switched_off(tmp_path: Path) -> None:
    answer = result()
    assert await Recorder(None, Settings(data=tmp_path)).record(answer, owner="local", source="ocr") is answer


async def test_without_the_database_answers_go_out_and_say_so(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise StoreUnavailable("The disk is full.", hint="Make room.")

    with monkeypatch.context() as patch:
        patch.setattr(recorder.database, "write", away)
        reported = await recorder.record(result(), owner="local", source="ocr")
        assert reported.notices[-1].code == "not_recorded"
        assert "The disk is full. Make room." in reported.notices[-1].message
        assert recorder.last_error == "The disk is full. Make room."
    rested = await recorder.record(result(), owner="local", source="ocr")
    assert rested.notices[-1].code == "not_recorded", "it is not tried again at once"
    recorder.retry_at = 0.0
    await recorder.record(answer := result(), owner="local", source="ocr")
    assert recorder.last_error is None
    assert await ids(recorder) == [answer.id]


async def test_a_locked_database_holds_up_no_answer(tmp_path: Path, settings: Settings) -> None:
    """A real lock, of another connection; the wait is shortened so that the test is short."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    recorder = Recorder(database, settings)
    recorder.wait_s = 0.3
    database.migrate()
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    reported = await recorder.record(result(), owner="local", source="ocr")
    assert reported.notices[-1].code == "not_recorded"
    assert "did not answer within" in reported.notices[-1].message
    other.execute("ROLLBACK")
    other.close()
    database.close()


async def test_a_mistake_of_ours_does_not_cost_the_answer(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "build_entry", lambda *_, **__: 1 / 0)
    reported = await recorder.record(result(), owner="local", source="ocr")
    assert reported.notices[-1].code == "not_recorded"
    assert "ZeroDivisionError" in caplog.text


async def test_a_cancelled_client_does_not_undo_the_record(recorder: Recorder) -> None:
    answer = result()
    recording_it = asyncio.create_task(recorder.record(answer, owner="local", source="ocr"))
    while not await ids(recorder):
        await asyncio.sleep(0.001)
    recording_it.cancel()
    await asyncio.gather(recording_it, return_exceptions=True)
    assert await ids(recorder) == [answer.id]


async def made(recorder: Any, image: bytes | None = None) -> str:
    answer = result()
    await recorder.record(answer, owner="local", source="ocr", image=image)
    return answer.id


def pictures(recorder: Recorder) -> list[Any]:
    return [p.name for p in recorder.pictures.folder.rglob("*") if p.is_file()]


async def pass_by_days(clock: Hand, retention: Retention, days: int) -> None:
    for _ in range(days):
        clock.pass_(days=1)
        await retention.sweep()


async def test_records_and_pictures_go_when_their_time_is_over(recorder: Recorder, retention: Retention, clock: Hand) -> None:
    await retention.sweep()
    first = await made(recorder, b"one")
    clock.pass_(days=1)
    second = await made(recorder, b"two")
    await pass_by_days(clock, retention, 8)
    assert (await ids(recorder), len(pictures(recorder))) == ([second, first], 2)
    await pass_by_days(clock, retention, 3)
    assert (await ids(recorder), pictures(recorder)) == ([second, first], [])
    record, _ = await recorder.database.read(records.get, "local", first)
    assert record.image is None
    await pass_by_days(clock, retention, 18)
    assert await ids(recorder) == [second, first]
    await pass_by_days(clock, retention, 1)
    assert await ids(recorder) == [second]
    await pass_by_days(clock, retention, 1)
    assert await ids(recorder) == []


async def test_many_go_in_steps(recorder: Recorder, retention: Retention, clock: Hand) -> None:
    retention.batch_size = 3
    await retention.sweep()
    for n in range(8):
        await made(recorder, bytes([n]))
    await pass_by_days(clock, retention, 30)
    clock.pass_(minutes=1)
    assert await retention.sweep() == 8
    assert await ids(recorder) == []


async def test_zero_days_keep_for_ever(database: Database, tmp_path: Path, clock: Hand) -> None:
    settings = Settings(data=tmp_path, store=StoreSettings(keep_images=True, retention_days=0, image_days=0))
    recorder = Recorder(database, settings, clock=Clock(clock, clock.ticks))
    retention = Retention(database, recorder, settings, Timekeeper(database, recorder.clock, shared=False))
    await retention.sweep()
    await made(recorder, b"x")
    for _ in range(30):
        clock.pass_(days=2)
        await retention.sweep()
    assert len(await ids(recorder)) == len(pictures(recorder)) == 1


async def test_a_clock_that_jumps_ahead_deletes_nothing(recorder: Recorder, retention: Retention, clock: Hand) -> None:
    await retention.sweep()
    await made(recorder, b"x")
    clock.wall += timedelta(days=4000)
    for _ in range(23):
        clock.pass_(hours=1)
        assert await retention.sweep() == 0
    clock.wall -= timedelta(days=4000)  # set right again
    clock.pass_(hours=1)
    assert await retention.sweep() == 0
    assert len(await ids(recorder)) == 1
    await pass_by_days(clock, retention, 31)
    assert await ids(recorder) == [], "the counter-case: a clock that is right deletes"


async def test_a_clock_that_was_set_right_is_believed_after_a_day(recorder: Recorder, retention: Retention, clock: Hand) -> None:
    await retention.sweep()
    await made(recorder)
    clock.wall += timedelta(days=365)  # the machine was off for a year
    await retention.sweep()
    for _ in range(23):
        clock.pass_(hours=1)
        assert await retention.sweep() == 0
    clock.pass_(hours=1)
    assert await retention.sweep() == 1


async def test_an_empty_battery(recorder: Recorder, retention: Retention, clock: Hand) -> None:
    """The clock stands in 1970 after a power cut. Records made then are not taken for old ones when it is right again."""
    await retention.sweep()
    clock.wall = datetime(1970, 1, 1, tzinfo=UTC)
    await retention.sweep()
    during = await made(recorder)
    record, _ = await recorder.database.read(records.get, "local", during)
    assert record.created_at == NOON
    clock.wall = NOON + timedelta(hours=5)
    await retention.sweep()
    assert await ids(recorder) == [during]
    after = await made(recorder)
    record, _ = await recorder.database.read(records.get, "local", after)
    assert record.created_at == clock.wall


async def test_erasing_takes_the_picture_only_when_nobody_else_has_it(recorder: Recorder) -> None:
    first, second = await made(recorder, b"same"), await made(recorder, b"same")
    assert await recorder.database.write(delete_records, recorder.pictures, "other", [first]) == 0
    assert await recorder.database.write(delete_records, recorder.pictures, "local", [first]) == 1
    assert len(pictures(recorder)) == 1
    assert await recorder.database.write(delete_records, recorder.pictures, "local", [second]) == 1
    assert pictures(recorder) == []


async def test_pictures_without_a_record_are_swept(
    recorder: Recorder, retention: Retention, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.wall = utc_now()  # as the files' own times
    await made(recorder, b"named")
    recorder.pictures.keep(b"left by a crash")
    await retention.sweep()
    assert len(pictures(recorder)) == 2, "it may belong to a transaction that runs"
    recorder.pictures.min_age_s = -1.0
    await retention.sweep()
    assert pictures(recorder) == [recorder.pictures.name_of(b"named")]
