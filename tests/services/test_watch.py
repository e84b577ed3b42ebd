"""A watched folder: what is read and when, where things are filed, and what happens when something is in the way."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.errors import BackendFailed, ConfigError
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.services.watch.watcher import Watcher
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.search import RecordQuery
from tests.services.conftest import running, watcher
from tests.support.fake_backend import FakeBackend, picture, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "扫描"
    made.mkdir()
    return made


def files(folder: Path) -> set[str]:
    """Everything in it but our own notes."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".hunyuanocr" not in p.parts}


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


async def test_a_new_picture_is_read_and_moved(folder: Path, pipeline: Pipeline) -> None:
    async with running(watcher(folder, pipeline)) as one:
        (folder / "小票.png").write_bytes(picture(1))
        await wait_until(lambda: one.counts["done"] == 1)
        assert files(folder) == {"done/小票.png", "done/小票.png.json"}
        answer = load(folder / "done" / "小票.png.json")
        assert (answer["text"], answer["file"], answer["success"]) == ("#012030", "小票.png", True)
        assert (folder / "done" / "小票.png").read_bytes() == picture(1)
        assert not list((folder / ".hunyuanocr").iterdir())


async def test_fields_go_to_a_table_and_answers_to_another_folder(
    folder: Path, pipeline: Pipeline, reader: FakeBackend, tmp_path: Path
) -> None:
    reader.text = "Total: 36.80\n收银员: @SUM(1+1)"
    results = tmp_path / "erp"
    results.mkdir()
    (folder / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline, results=results, csv=True, instruction="总金额, 收银员")
    await one.run(once=True)
    assert files(folder) == {"done/a.png"}
    assert files(results) == {"a.png.json", "a.png.csv"}
    with (results / "a.png.csv").open(encoding="utf-8-sig", newline="") as table:
        head, row = csv.reader(table)
    assert head == ["file", "total_amount", "cashier"]
    assert row == ["a.png", "36.80", "'@SUM(1+1)"], "a formula is defused"
    assert load(results / "a.png.json")["fields"]["cashier"] == "@SUM(1+1)"


async def test_a_file_is_read_only_when_it_has_stopped_growing(folder: Path, pipeline: Pipeline, reader: FakeBackend) -> None:
    whole = picture()
    async with running(watcher(folder, pipeline, interval_s=0.2)) as one:
        with (folder / "slow.png").open("wb") as scan:
            for n in range(0, len(whole), 16):
                scan.write(whole[n : n + 16])
                scan.flush()
                await asyncio.sleep(0.1)
            assert reader.begun == 0
            assert one.counts == {"done": 0, "failed": 0}
        await wait_until(lambda: one.counts["done"] == 1)


async def test_a_file_that_changes_while_it_is_read_is_not_filed(folder: Path, pipeline: Pipeline, reader: FakeBackend) -> None:
    """What was read is not what lies there now, so the answer must not go with it."""
    reader.gate = asyncio.Event()
    async with running(watcher(folder, pipeline)) as one:
        (folder / "a.png").write_bytes(picture(1))
        await wait_until(lambda: reader.now == 1)
        (folder / "a.png").write_bytes(picture(2) + b"\0")
        reader.gate.set()
        await wait_until(lambda: one.counts["done"] == 1)
    assert load(folder / "done" / "a.png.json")["text"] == "#022030"
    assert files(folder) == {"done/a.png", "done/a.png.json"}


@pytest.mark.parametrize(
    "name",
    [
        ".a.png",
        "~$a.png",
        "a.png.part",
        "a.jpg.tmp",
        "a.png.crdownload",
        "a.filepart",
        "a.png~",
        "Thumbs.db",
        "DESKTOP.INI",
    ],
)
async def test_names_of_files_being_written_are_passed_over(folder: Path, pipeline: Pipeline, name: str) -> None:
    (folder / name).write_bytes(picture())
    (folder / "b.png").write_bytes(picture())
    one = watcher(folder, pipeline)
    await one.run(once=True)
    assert one.counts == {"done": 1, "failed": 0}
    assert (folder / name).exists()


async def test_an_empty_file_is_waited_for(folder: Path, pipeline: Pipeline) -> None:
    moment = 0.0
    one = watcher(folder, pipeline)
    one.scanner.clock = lambda: moment
    (folder / "a.png").touch()
    for moment in (0.0, 1.0, 59.0):  # noqa: B007 -- the clock reads it
        assert one.scanner.scan() == []
        assert one.scanner.unstable == 1
    moment = 61.0
    assert [f.path.name for f in one.scanner.scan()] == ["a.png"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no picture", "unsupported_media_type"),
        (picture()[:60], "unreadable_image"),
        (b"x" * 100_001, "image_too_large"),
    ],
)
async def test_what_cannot_be_read_goes_to_failed_with_the_reason(
    folder: Path, pipeline: Pipeline, data: bytes, code: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (folder / "a.png").write_bytes(data)
    one = watcher(folder, pipeline, results=tmp_path / "out")
    await one.run(once=True)
    reason = load(folder / "failed" / "a.png.json")
    assert (reason["code"], reason["success"], reason["file"]) == (code, False, "a.png")
    assert reason["hint"]
    assert files(folder) == {"failed/a.png", "failed/a.png.json"}
    assert not files(tmp_path / "out")


async def test_nothing_is_overwritten(folder: Path, pipeline: Pipeline) -> None:
    one = watcher(folder, pipeline)
    for red in (1, 2, 3):
        (folder / "scan.png").write_bytes(picture(red))
        os.utime(folder / "scan.png", (1_700_000_000, 1_700_000_000))  # the same moment: the time alone is no new name
        await one.run(once=True)
    found = sorted((folder / "done").glob("*.png"))
    assert sorted(p.read_bytes() for p in found) == sorted(picture(red) for red in (1, 2, 3))
    assert all(load(p.with_name(p.name + ".json"))["text"] == f"#{p.read_bytes() and colour_of(p)}" for p in found)
    assert {p.name for p in found} >= {"scan.png"}


def colour_of(path: Path) -> str:
    return next(f"0{red}2030" for red in (1, 2, 3) if path.read_bytes() == picture(red))


async def test_answers_of_somebody_else_are_not_overwritten(folder: Path, pipeline: Pipeline) -> None:
    (folder / "done").mkdir()
    (folder / "done" / "a.png.json").write_text("mine")
    (folder / "done" / "b.png.csv").write_text("mine too")
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture())
    await watcher(folder, pipeline, csv=True).run(once=True)
    assert (folder / "done" / "a.png.json").read_text() == "mine"
    assert (folder / "done" / "b.png.csv").read_text() == "mine too"
    assert len(list((folder / "done").glob("*.png"))) == 2


async def test_subfolders_are_watched_when_asked(folder: Path, pipeline: Pipeline) -> None:
    (folder / "till 1" / "x").mkdir(parents=True)
    (folder / "till 1" / "x" / "a.png").write_bytes(picture())
    await watcher(folder, pipeline).run(once=True)
    assert files(folder) == {"till 1/x/a.png"}
    one = watcher(folder, pipeline, subfolders=True)
    await one.run(once=True)
    await one.run(once=True)  # done/ itself is not watched
    assert files(folder) == {"done/till 1/x/a.png", "done/till 1/x/a.png.json"}


async def test_a_folder_for_answers_inside_is_not_watched(folder: Path, pipeline: Pipeline) -> None:
    (folder / "out").mkdir()
    (folder / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline, subfolders=True, results=folder / "out")
    await one.run(once=True)
    await one.run(once=True)
    assert files(folder) == {"done/a.png", "out/a.png.json"}


async def test_links_are_never_followed(
    folder: Path, pipeline: Pipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "a.png").write_bytes(picture())
    (folder / "file.png").symlink_to(secret / "a.png")
    (folder / "folder").symlink_to(secret)
    os.mkfifo(folder / "pipe.png")
    with caplog.at_level(logging.WARNING):
        one = watcher(folder, pipeline, subfolders=True)
        await one.run(once=True)
    assert one.counts == {"done": 0, "failed": 0}
    assert files(secret) == {"a.png"}
    assert caplog.text.count("it is ignored") == 3
    assert "file.png" not in caplog.text, "names of scanned files may name patients"


async def test_a_link_put_in_place_of_done_is_refused(folder: Path, pipeline: Pipeline, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "done").symlink_to(elsewhere)
    (folder / "a.png").write_bytes(picture())
    async with running(watcher(folder, pipeline)) as one:
        await wait_until(lambda: one.pending_errors == 1)
        assert not list(elsewhere.iterdir())
        assert (folder / "a.png").exists()


async def test_a_folder_that_becomes_a_link_after_the_look_is_not_followed(
    folder: Path, pipeline: Pipeline, tmp_path: Path
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline, subfolders=True)
    one.scanner.scan()
    await asyncio.sleep(0.01)
    (found,) = one.scanner.scan()
    (folder / "sub").rename(tmp_path / "moved")
    (folder / "sub").symlink_to(tmp_path / "moved")
    await one.process(found)
    assert one.counts == {"done": 0, "failed": 0}


async def test_a_folder_that_is_away_is_waited_for(folder: Path, pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(folder)
    with caplog.at_level(logging.INFO, "hunyuanocr.services"):
        async with running(watcher(folder, pipeline)) as one:
            await wait_until(lambda: "Waiting for it" in caplog.text)
            await asyncio.sleep(0.1)
            assert not folder.exists(), "nothing is made where a disk is to be mounted"
            folder.mkdir()
            (folder / "a.png").write_bytes(picture())
            await wait_until(lambda: one.counts["done"] == 1)
    assert caplog.text.count("Waiting for it") == 1
    assert "is available again" in caplog.text


async def test_a_folder_for_answers_that_is_away_leaves_the_file(
    folder: Path, pipeline: Pipeline, reader: FakeBackend, tmp_path: Path
) -> None:
    (folder / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline, results=tmp_path / "not mounted")
    async with running(one):
        await wait_until(lambda: one.pending_errors == 1)
    assert files(folder) == {"a.png"}
    assert not (tmp_path / "not mounted").exists()


async def test_a_failed_reader_is_tried_again_and_then_given_up(
    folder: Path, pipeline: Pipeline, reader: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watcher, "first_backoff_s", 0.01)
    (folder / "a.png").write_bytes(picture())
    reader.fault = lambda: BackendFailed("a bad moment") if reader.begun < 3 else None
    one = watcher(folder, pipeline)

    def once_well() -> Any:
        if reader.begun == 3:
            reader.fault = None
            return RuntimeError
        return BackendFailed("a bad moment")

    reader.fault = once_well
    await one.run(once=True)
    assert (reader.begun, one.counts["failed"]) == (3, 1), "three times and no more"
    assert load(folder / "failed" / "a.png.json")["code"] == "reader_failed"
    (folder / "b.png").write_bytes(picture())
    await one.run(once=True)
    assert one.counts["done"] == 1


async def test_while_the_database_is_away_files_stay(
    folder: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Watcher, "first_backoff_s", 0.01)
    place = tmp_path / "db"
    place.touch()  # a file where the database's folder shall be
    database = Database(f"sqlite:///{place / 'shop.db'}")
    (folder / "a.png").write_bytes(picture())
    async with running(watcher(folder, pipeline, Recorder(database, pipeline.settings))) as one:
        await wait_until(lambda: one.pending_errors == 1)
        assert files(folder) == {"a.png"}
        place.unlink()
        await wait_until(lambda: one.counts["done"] == 1)
    answer = load(folder / "done" / "a.png.json")
    ((record, _),) = await database.read(records.search_results, RecordQuery("local"), 10)
    assert (record.id, record.source, record.text) == (answer["id"], "watch", "#102030")
    database.close()


async def test_an_answer_whose_original_was_not_moved_is_not_read_again(
    folder: Path, pipeline: Pipeline, reader: FakeBackend
) -> None:
    """The moment between the last two steps: the program was killed there."""
    (folder / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline, csv=True)
    await one.run(once=True)
    (folder / "done" / "a.png").rename(folder / "a.png")  # keeps its time
    (folder / "done" / "a.png.csv").unlink()
    await watcher(folder, pipeline, csv=True).run(once=True)
    assert reader.begun == 1
    assert files(folder) == {"done/a.png", "done/a.png.json", "done/a.png.csv"}


async def test_another_instruction_reads_the_same_file_again(folder: Path, pipeline: Pipeline, reader: FakeBackend) -> None:
    """The counter-case: what was read for another purpose is no answer."""
    (folder / "a.png").write_bytes(picture())
    await watcher(folder, pipeline).run(once=True)
    (folder / "done" / "a.png").rename(folder / "a.png")
    await watcher(folder, pipeline, instruction="total").run(once=True)
    assert reader.begun == 2
    assert len(list((folder / "done").glob("*.json"))) == 2


async def test_a_picture_at_which_the_process_died_three_times_is_given_up(
    folder: Path, pipeline: Pipeline, reader: FakeBackend
) -> None:
    (folder / "a.png").write_bytes(picture())
    one = watcher(folder, pipeline)
    one.scanner.scan()
    await asyncio.sleep(0.01)
    (found,) = one.scanner.scan()
    reader.gate = asyncio.Event()
    taking = asyncio.create_task(one.process(found))
    await wait_until(lambda: reader.now == 1)
    (mark,) = (folder / ".hunyuanocr").iterdir()
    assert mark.stat().st_size == 1
    taking.cancel()
    await asyncio.wait((taking,))
    assert not mark.exists(), "ended by order, not by a death"
    mark.write_bytes(b"...")
    reader.gate = None
    await one.run(once=True)
    assert load(folder / "failed" / "a.png.json")["code"] == "reader_crashed"
    assert reader.begun == 1


async def test_a_fault_of_ours_does_not_end_the_watch(folder: Path, pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    def on_filed(path: Any, code: Any) -> None:
        raise RuntimeError("a bug")

    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture())
    async with running(watcher(folder, pipeline, on_filed=on_filed)) as one:
        await wait_until(lambda: one.counts["done"] == 2)
    assert "Unexpected error" in caplog.text


async def test_as_many_at_once_as_the_reader_reads(folder: Path, tmp_path: Path) -> None:
    from hunyuanocr.backends.base import BackendName
    from hunyuanocr.pipeline import Pipeline
    from tests.services.conftest import quick_settings

    reader = FakeBackend(name=BackendName.VLLM)  # eight at a time
    reader.gate = asyncio.Event()
    pipeline = Pipeline(reader, quick_settings(evidence_backend="off"))
    await pipeline.start()
    for n in range(24):
        (folder / f"{n}.png").write_bytes(picture(n))
    one = watcher(folder, pipeline)
    watching = asyncio.create_task(one.run(once=True))
    await wait_until(lambda: reader.now == pipeline.concurrency)
    reader.gate.set()
    await watching
    await pipeline.close()
    assert one.counts["done"] == 24
    assert reader.max_concurrent == pipeline.concurrency == 8


async def test_odd_names(folder: Path, pipeline: Pipeline) -> None:
    """Bytes that are no text, and a name as long as names may be."""
    for name in (b"\xff\xfe.png", "长".encode() * 83 + b".png", b"a\nb.png"):
        (folder / os.fsdecode(name)).write_bytes(picture())
    one = watcher(folder, pipeline, csv=True)
    await one.run(once=True)
    assert one.counts == {"done": 3, "failed": 0}
    assert len(list((folder / "done").glob("*.json"))) == 3


async def test_a_file_is_not_a_folder(folder: Path, pipeline: Pipeline) -> None:
    (folder / "a").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        watcher(folder / "a", pipeline)
    with pytest.raises(ConfigError, match="not set"):
        watcher(None, pipeline)
