"""The cost of records: writing them, and searching for text and values among many.

    .venv/bin/python bench/records.py [--records 100000] [--url postgresql://…]

Times are wall times; `cpu` is the CPU time of this process, which is more reliable on a busy machine.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hunyuanocr.ids import new_id
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.record_builder import build_entry
from hunyuanocr.store.search import RecordQuery
from hunyuanocr.types import Field, FieldType, Line, Result, TaskKind

GOODS = ["矿泉水", "面包", "牛奶", "鸡蛋", "苹果", "酱油", "大米", "洗衣液", "毛巾", "电池", "口罩", "维生素", "感冒灵", "创可贴"]
BOX = ((10.0, 10.0), (400.0, 10.0), (400.0, 40.0), (10.0, 40.0))
START = datetime(2026, 1, 1, tzinfo=UTC)
AT_ONCE = 500


def receipt(chance: random.Random, n: int) -> Result:
    """Return a receipt of 12 to 40 lines; one in 10,000 is from the shop 龙井茶庄."""
    bought = [(chance.choice(GOODS), f"{chance.uniform(1, 99):.2f}") for _ in range(chance.randint(8, 36))]
    total = f"¥{sum(float(price) for _, price in bought):.2f}"
    shop = "龙井茶庄" if n % 10_000 == 77 else f"便民超市{chance.randint(1, 40)}号店"
    words = [shop, "日期：2026-11-20", *(f"{name}  {price}" for name, price in bought), f"合计：{total}"]
    fields = (
        Field("total_amount", FieldType.MONEY, total, {"amount": total[1:], "currency": "CNY"}, BOX, 0, 0.98, grounded=True),
        Field("merchant", FieldType.NAME, shop, None, BOX, 0, 0.97, grounded=True),
    )
    lines = tuple(Line(w, BOX, 0.97) for w in words)
    return Result(new_id(), TaskKind.EXTRACT, "\n".join(words), lines, fields, None, ((937, 1450),), "ppocr", "bench", 400.0)


@contextmanager
def timed(what: str, times: int = 1) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:<58}{1000 * wall / times:10.2f} ms{1000 * cpu / times:10.2f} ms cpu", flush=True)


def fill(database: Database, count: int) -> None:
    chance = random.Random(7)
    made = (
        build_entry(
            receipt(chance, n),
            owner="local",
            created_at=START + timedelta(seconds=60 * n),
            source="ocr",
            device=f"device {n % 9}",
        )
        for n in range(count)
    )
    with timed(f"one record of {count}, {AT_ONCE} a transaction", count):
        for _ in range(0, count, AT_ONCE):
            with database.transaction() as session:
                for _, e in zip(range(AT_ONCE), made, strict=False):
                    records.insert(session, e)
    one = [build_entry(receipt(chance, 1), owner="local", created_at=START, source="ocr") for _ in range(50)]
    with timed("one record per transaction", 50):
        for e in one:
            with database.transaction() as session:
                records.insert(session, e, send=True)


def search_records(database: Database, count: int) -> None:
    now = START + timedelta(seconds=60 * count)
    searches: dict[str, RecordQuery] = {
        "the newest 50": RecordQuery("local"),
        "'面包', of two characters, on nearly every page": RecordQuery("local", text="面包"),
        "'龙井', on ten pages": RecordQuery("local", text="龙井"),
        "'nowhere', on no page": RecordQuery("local", text="nowhere"),
        "total_amount = a value that one page may have": RecordQuery("local", field="total_amount", value="1234.56"),
        "merchant contains 龙井": RecordQuery("local", field="merchant", value="龙井"),
        "device 3, the last day": RecordQuery("local", device="device 3", since=now - timedelta(days=1)),
        "'龙井', the last 30 days": RecordQuery("local", text="龙井", since=now - timedelta(days=30)),
    }
    for name, query in searches.items():
        hits = repeat(database, name, lambda conn, q=query: records.search(conn, q, 50))
        print(f"{'':<58}{hits} hits")
    repeat(database, "columns of an export of everything", lambda session: records.keys(session, RecordQuery("local"), 500))


def repeat(database: Database, name: str, work: Callable[..., list[object]]) -> int:
    found: list[object] = []
    with timed(name, 3):
        for _ in range(3):
            with database.read_transaction() as session:
                found = work(session)
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--url", help="URL of an empty database; by default a temporary SQLite file.")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(flags.url or f"sqlite:///{folder}/bench.db")
        database.migrate()
        fill(database, flags.records)
        search_records(database, flags.records)
        database.close()
        size = sum(p.stat().st_size for p in Path(folder).iterdir())
    if size:
        print(f"{size / flags.records / 1000:.1f} KB of disk per record")


if __name__ == "__main__":
    main()
