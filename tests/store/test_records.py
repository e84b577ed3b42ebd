"""Records: written once, found by what stands on them, and really gone when deleted."""

import asyncio
from datetime import timedelta

import pytest

from hunyuanocr.clock import wall_clock
from hunyuanocr.store.answers import unpack
from hunyuanocr.store.entries import entry
from hunyuanocr.store.matching import Search
from hunyuanocr.store.pictures import Pictures
from hunyuanocr.store.records import forget_images, get, insert, keys, named, older, remove, search, search_results
from hunyuanocr.types import Field, FieldType
from tests.store.results import ITEMS, NOON, TOTAL, kept, money, result


def write(database, *entries):
    with database.begin() as session:
        return [insert(session, e, send=True) for e in entries]


def found(database, limit=50, after=None, owner="local", **wanted):
    with database.read() as session:
        return [r.id for r in search(session, Search(owner, **wanted), limit, after)]


def test_a_record_comes_back_as_it_was(database):
    answer = result(fields=(TOTAL, ITEMS, Field("nothing", FieldType.TEXT)))
    made = entry(answer, owner="local", created_at=NOON, source="job", instruction="提取总金额", device="收银台1", image="a" * 64)
    write(database, made)
    with database.read() as session:
        record, packed = get(session, "local", answer.id)
    assert record == made.record
    assert unpack(packed) == answer
    assert record.fields["total_amount"] == "¥36.80"
    assert record.fields["items"] == [{"name": "矿泉水", "amount": "9.00"}, {"name": "面包", "amount": "27.80"}]
    assert record.fields["nothing"] is None
    assert (record.confidence, record.confidence_min, record.pages) == (0.85, 0.8, 1)


def test_a_record_is_written_once(database):
    first = kept("one")
    second = entry(result("two", id=first.record.id), owner="other", created_at=NOON, source="ocr")
    assert write(database, first, first) == [True, False]
    assert write(database, second) == [False]
    assert found(database) == [first.record.id]
    assert found(database, owner="other") == []


async def test_a_record_that_several_write_at_once_is_written_once(database):
    made = kept(fields=(TOTAL, ITEMS))
    wrote = await asyncio.gather(*(database.run(insert, made, send=True) for _ in range(8)))
    assert sorted(wrote) == [False] * 7 + [True]
    assert found(database) == [made.record.id]


@pytest.mark.parametrize(("part", "hits"), [
    ("便民超市", [0]), ("合计", [0, 1]), ("计", [0, 1]), ("超市\n合", [0]), ("total", [2]), ("TOTAL", [2]), ("100%", [2]),
    ("%", [2]), ("_", [3]), ("\\", [3]), ("a_b", [3]), ("没有", []), ("1' OR '1'='1", []),
])  # fmt: skip
def test_words_are_found_in_any_language_and_no_sign_is_special(database, part, hits):
    texts = ["便民超市\n合计：¥36.80", "医院\n合计 5", "Total 100% paid", r"a_b and c\d"]
    made = [kept(words, minutes=-n) for n, words in enumerate(texts)]
    write(database, *made)
    assert found(database, text=part) == [made[n].record.id for n in hits]


def test_values_are_found_by_field_as_printed_and_as_normalised(database):
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


def test_by_date_device_source_and_task(database):
    made = [kept("x", minutes=10 * n, device=f"d{n % 2}", source="ws" if n == 3 else "ocr") for n in range(4)]
    write(database, *made)
    ids = [e.record.id for e in made]
    assert found(database, since=NOON + timedelta(minutes=10), until=NOON + timedelta(minutes=30)) == [ids[2], ids[1]]
    assert found(database, device="d1") == [ids[3], ids[1]]
    assert found(database, source="ws") == [ids[3]]
    assert found(database, task="extract", device="d0") == [ids[2], ids[0]]
    assert found(database, task="read") == []


def test_pages_of_a_search_meet_without_gap_or_overlap(database):
    made = [kept(str(n), minutes=n // 4) for n in range(23)]  # several of one moment
    write(database, *made)
    seen, after = [], None
    while True:
        with database.read() as session:
            page = search(session, Search("local"), 5, after)
        if not page:
            break
        seen += [r.id for r in page]
        after = page[-1].created_at, page[-1].id
        write(database, kept("newer", minutes=99))  # what comes meanwhile moves nothing
    assert sorted(seen) == sorted(e.record.id for e in made)
    with database.read() as session:
        assert [r.text for r, _ in search_results(session, Search("local", text="newer"), 2)] == ["newer"] * 2


def test_others_see_and_delete_nothing(database):
    mine = kept("secret")
    write(database, mine)
    with database.begin() as session:
        assert get(session, "other", mine.record.id) is None
        assert remove(session, "other", [mine.record.id]) == (0, [])
        assert keys(session, Search("other"), 10) == []
    assert found(database, owner="other", text="secret") == []
    assert found(database) == [mine.record.id]


def test_deleting_leaves_nothing(database):
    picture = "b" * 64
    gone, stays = kept("gone", fields=(TOTAL, ITEMS), image=picture), kept("stays", image=picture)
    write(database, gone, stays)
    with database.begin() as session:
        assert remove(session, "local", [gone.record.id]) == (1, [picture])
        assert named(session, [picture, "c" * 64]) == {picture}  # the other one still names it
        for table in ("record_values", "record_results", "outbox"):
            rows = session.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE record_id = '{gone.record.id}'")
            assert rows.scalar() == 0
    assert found(database) == [stays.record.id]


def test_keys_of_the_fields_there_are(database):
    write(
        database, kept(fields=(TOTAL, ITEMS)), kept(device="d", fields=(money("fare", "1", "1"), Field("none", FieldType.TEXT)))
    )
    with database.read() as session:
        assert keys(session, Search("local"), 10) == ["fare", "items", "total_amount"]
        assert keys(session, Search("local"), 2) == ["fare", "items"]
        assert keys(session, Search("local", device="d"), 10) == ["fare"]


def test_the_old_ones_for_the_retention(database):
    made = [kept(str(n), minutes=n, owner=f"o{n}", image="d" * 64 if n == 1 else None) for n in range(4)]
    write(database, *made)
    with database.begin() as session:
        assert older(session, NOON + timedelta(minutes=3), 2) == [(e.record.owner, e.record.id) for e in made[:2]]
        assert older(session, NOON + timedelta(hours=1), 9, with_image=True) == [("o1", made[1].record.id)]
        assert forget_images(session, [made[1].record.id]) == ["d" * 64]
        assert older(session, NOON + timedelta(hours=1), 9, with_image=True) == []
        assert get(session, "o1", made[1].record.id) is not None


@pytest.mark.parametrize("odd", ["\x00", "\ud800", "a\x00b\udfff"])
def test_text_that_databases_do_not_take_is_taken(database, odd):
    made = kept(f"before{odd}after", fields=(Field(odd, FieldType.TEXT, odd, {odd: odd}),), device=odd, instruction=odd)
    write(database, made)
    assert found(database, text="before") == [made.record.id]
    with database.read() as session:
        _, packed = get(session, "local", made.record.id)
    assert "\ufffd" in unpack(packed).text


def test_pictures_are_whole_and_once(tmp_path, monkeypatch):
    pictures = Pictures(tmp_path / "images")
    name = pictures.keep(b"bytes of a picture")
    assert pictures.keep(b"bytes of a picture") == name == Pictures.name_of(b"bytes of a picture")
    assert pictures.path(name).read_bytes() == b"bytes of a picture"
    assert list(pictures.old(wall_clock())) == []
    monkeypatch.setattr("hunyuanocr.store.pictures._GIVE_UP_S", -1.0)
    left = pictures.path(name).with_name("x.part")
    left.touch()
    assert list(pictures.old(wall_clock())) == [name]
    assert not left.exists()
    pictures.drop([name, name])
    assert list(pictures.old(wall_clock())) == []
    for bad in ("../../etc/passwd", "", "A" * 64):
        with pytest.raises(ValueError, match="not the name"):
            pictures.path(bad)


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    pictures = Pictures(tmp_path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="space"):
        pictures.keep(b"x")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
