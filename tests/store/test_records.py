"""Records: written once, found by what stands on them, and really gone when deleted."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.clock import utc_now
from hunyuanocr.store.database import Database
from hunyuanocr.store.image_store import ImageStore
from hunyuanocr.store.record_builder import build_entry
from hunyuanocr.store.records import (
    Entry,
    clear_images,
    expired,
    get,
    insert,
    keys,
    remove,
    search,
    search_results,
    still_referenced,
)
from hunyuanocr.store.result_codec import decode_result
from hunyuanocr.store.search import RecordQuery
from hunyuanocr.types import Field, FieldType
from tests.store.results import ITEMS, NOON, TOTAL, kept, money, result


def write(database: Any, *entries: Entry) -> list[Any]:
    with database.transaction() as conn:
        return [insert(conn, e, send=True) for e in entries]


def found(database: Database, limit: int = 50, after: Any = None, owner: Any = "local", **expected: Any) -> list[Any]:
    with database.read_transaction() as conn:
        return [r.id for r in search(conn, RecordQuery(owner, **expected), limit, after)]


def test_a_record_comes_back_as_it_was(database: Database) -> None:
    answer = result(fields=(TOTAL, ITEMS, Field("nothing", FieldType.TEXT)))
    made = build_entry(
        answer, owner="local", created_at=NOON, source="job", instruction="提取总金额", device="收银台1", image="a" * 64
    )
    write(database, made)
    with database.read_transaction() as conn:
        record, packed = get(conn, "local", answer.id)
    assert record == made.record
    assert decode_result(packed) == answer
    assert record.fields["total_amount"] == "¥36.80"
    assert record.fields["items"] == [{"name": "矿泉水", "amount": "9.00"}, {"name": "面包", "amount": "27.80"}]
    assert record.fields["nothing"] is None
    assert (record.confidence, record.confidence_min, record.pages) == (0.85, 0.8, 1)


def test_a_record_is_written_once(database: Database) -> None:
    first = kept("one")
    second = build_entry(result("two", id=first.record.id), owner="other", created_at=NOON, source="ocr")
    assert write(database, first, first) == [True, False]
    assert write(database, second) == [False]
    assert found(database) == [first.record.id]
    assert found(database, owner="other") == []


async def test_a_record_that_several_write_at_once_is_written_once(database: Database) -> None:
    made = kept(fields=(TOTAL, ITEMS))
    wrote = await asyncio.gather(*(database.write(insert, made, send=True) for _ in range(8)))
    assert sorted(wrote) == [False] * 7 + [True]
    assert found(database) == [made.record.id]


@pytest.mark.parametrize(
    ("part", "hits"),
    [
        ("便民超市", [0]),
        ("合计", [0, 1]),
        ("计", [0, 1]),
        ("超市\n合", [0]),
        ("total", [2]),
        ("TOTAL", [2]),
        ("100%", [2]),
        ("%", [2]),
        ("_", [3]),
        ("\\", [3]),
        ("a_b", [3]),
        ("没有", []),
        ("1' OR '1'='1", []),
    ],
)
def test_words_are_found_in_any_language_and_no_sign_is_special(database: Database, part: str, hits: list[Any]) -> None:
    texts = ["便民超市\n合计：¥36.80", "医院\n合计 5", "Total 100% paid", r"a_b and c\d"]
    made = [kept(words, minutes=-n) for n, words in enumerate(texts)]
    write(database, *made)
    assert found(database, text=part) == [made[n].record.id for n in hits]


def test_values_are_found_by_field_as_printed_and_as_normalised(database: Database) -> None:
    shop = kept("a", fields=(TOTAL, ITEMS))
    bus = kept("b", minutes=-1, fields=(money("fare", "RMB 36.80", "36.80"), Field("100%", FieldType.TEXT, "x")))
    write(database, shop, bus)
    both, first, second = [shop.record.id, bus.record.id], [shop.record.id], [bus.record.id]
    assert found(database, value="36.80") == both
    assert found(database, field="total_amount", value="¥36") == first
    assert found(database, field="fare", value="36.80") == second
    assert found(database, field="fare", value="RMB") == second
    assert found(database, field="fare", value="9.00") == []
    assert found(database, field="items.name", value="面包") == first
    assert found(database, field="items", value="面包") == first
    assert found(database, field="total_amount") == first
    assert found(database, field="100%") == second
    assert found(database, field="%") == []


def test_by_date_device_source_and_task(database: Database) -> None:
    made = [kept("x", minutes=10 * n, device=f"d{n % 2}", source="ws" if n == 3 else "ocr") for n in range(4)]
    write(database, *made)
    ids = [e.record.id for e in made]
    assert found(database, since=NOON + timedelta(minutes=10), until=NOON + timedelta(minutes=30)) == [ids[2], ids[1]]
    assert found(database, device="d1") == [ids[3], ids[1]]
    assert found(database, source="ws") == [ids[3]]
    assert found(database, task="extract", device="d0") == [ids[2], ids[0]]
    assert found(database, task="read") == []


def test_pages_of_a_search_meet_without_gap_or_overlap(database: Database) -> None:
    made = [kept(str(n), minutes=n // 4) for n in range(23)]  # several of one moment
    write(database, *made)
    seen, after = [], None
    while True:
        with database.read_transaction() as conn:
            page = search(conn, RecordQuery("local"), 5, after)
        if not page:
            break
        seen += [r.id for r in page]
        after = page[-1].created_at, page[-1].id
        write(database, kept("newer", minutes=99))  # what comes meanwhile moves nothing
    assert sorted(seen) == sorted(e.record.id for e in made)
    with database.read_transaction() as conn:
        assert [r.text for r, _ in search_results(conn, RecordQuery("local", text="newer"), 2)] == ["newer"] * 2


def test_others_see_and_delete_nothing(database: Database) -> None:
    mine = kept("secret")
    write(database, mine)
    with database.transaction() as conn:
        assert get(conn, "other", mine.record.id) is None
        assert remove(conn, "other", [mine.record.id]) == (0, [])
        assert keys(conn, RecordQuery("other"), 10) == []
    assert found(database, owner="other", text="secret") == []
    assert found(database) == [mine.record.id]


def test_deleting_leaves_nothing(database: Database) -> None:
    picture = "b" * 64
    gone, stays = kept("gone", fields=(TOTAL, ITEMS), image=picture), kept("stays", image=picture)
    write(database, gone, stays)
    with database.transaction() as conn:
        assert remove(conn, "local", [gone.record.id]) == (1, [picture])
        assert still_referenced(conn, [picture, "c" * 64]) == {picture}  # the other one still names it
        for table in ("record_values", "record_results", "outbox"):
            rows = conn.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE record_id = '{gone.record.id}'")
            assert rows.scalar() == 0
    assert found(database) == [stays.record.id]


def test_keys_of_the_fields_there_are(database: Database) -> None:
    write(
        database, kept(fields=(TOTAL, ITEMS)), kept(device="d", fields=(money("fare", "1", "1"), Field("none", FieldType.TEXT)))
    )
    with database.read_transaction() as conn:
        assert keys(conn, RecordQuery("local"), 10) == ["fare", "items", "total_amount"]
        assert keys(conn, RecordQuery("local"), 2) == ["fare", "items"]
        assert keys(conn, RecordQuery("local", device="d"), 10) == ["fare"]


def test_the_old_ones_for_the_retention(database: Database) -> None:
    made = [kept(str(n), minutes=n, owner=f"o{n}", image="d" * 64 if n == 1 else None) for n in range(4)]
    write(database, *made)
    with database.transaction() as conn:
        assert expired(conn, NOON + timedelta(minutes=3), 2) == [(e.record.owner, e.record.id) for e in made[:2]]
        assert expired(conn, NOON + timedelta(hours=1), 9, with_image=True) == [("o1", made[1].record.id)]
        assert clear_images(conn, [made[1].record.id]) == ["d" * 64]
        assert expired(conn, NOON + timedelta(hours=1), 9, with_image=True) == []
        assert get(conn, "o1", made[1].record.id) is not None


@pytest.mark.parametrize("odd", ["\x00", "\ud800", "a\x00b\udfff"])
def test_text_that_databases_do_not_take_is_taken(database: Database, odd: str) -> None:
    made = kept(f"before{odd}after", fields=(Field(odd, FieldType.TEXT, odd, {odd: odd}),), device=odd, instruction=odd)
    write(database, made)
    assert found(database, text="before") == [made.record.id]
    with database.read_transaction() as conn:
        _, packed = get(conn, "local", made.record.id)
        assert get(conn, "local", odd) is None, "comparing is no error either"
    assert "\ufffd" in decode_result(packed).text
    assert found(database, device=odd) == [made.record.id]
    assert found(database, text=odd, value=odd) == [made.record.id]


def test_pictures_are_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = ImageStore(tmp_path / "images")
    name = pictures.keep(b"bytes of a picture")
    assert pictures.keep(b"bytes of a picture") == name == ImageStore.name_of(b"bytes of a picture")
    assert pictures.path(name).read_bytes() == b"bytes of a picture"
    assert list(pictures.old(utc_now())) == []
    pictures.min_age_s = -1.0
    left = pictures.path(name).with_name("x.part")
    left.touch()
    assert list(pictures.old(utc_now())) == [name]
    assert not left.exists()
    pictures.drop([name, name])
    assert list(pictures.old(utc_now())) == []
    for bad in ("../../etc/passwd", "", "A" * 64):
        with pytest.raises(ValueError, match="not the name"):
            pictures.path(bad)


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = ImageStore(tmp_path)

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        pictures.keep(b"x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
