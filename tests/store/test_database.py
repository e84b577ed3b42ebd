"""The database itself: transactions, threads, migrations, and its failures in words."""

import asyncio
import importlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, column, select, text
from sqlalchemy.exc import IntegrityError

from hunyuanocr.errors import ConfigError, StoreUnavailable
from hunyuanocr.ids import new_id
from hunyuanocr.store import deliveries, jobs, migrations
from hunyuanocr.store.database import Database
from hunyuanocr.store.tables import Json, metadata, state
from tests.support.postgres import Server


def note(conn: Any, name: str, value: str | int = 1) -> None:
    conn.execute(state.insert().values(owner="local", name=name, value=value))


def names(conn: Any) -> set[Any]:
    return set(conn.scalars(select(state.c.name)))


async def test_a_function_runs_in_one_transaction(database: Any) -> None:
    def fails(conn: Any) -> None:
        note(conn, "lost")
        raise ValueError("stop")

    await database.write(note, "kept", value={"zh": "合计"})
    with pytest.raises(ValueError, match="stop"):
        await database.write(fails)
    assert await database.read(names) == {"kept"}
    assert await database.read(lambda s: s.scalar(select(state.c.value))) == {"zh": "合计"}


async def test_a_query_cannot_write(database: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await database.read(note, "never")
    await database.write(note, "written")  # the connection is the pool's again, and writes
    assert await database.read(names) == {"written"}


async def test_our_own_mistakes_are_not_called_an_unavailable_store(database: Database) -> None:
    await database.write(note, "once")
    with pytest.raises(IntegrityError):
        await database.write(note, "once")


async def test_the_loop_runs_on_and_readers_do_not_wait_for_the_writer(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(conn: Any) -> None:
        note(conn, "slow")
        begun.set()
        assert go_on.wait(60)

    writing = asyncio.create_task(database.write(slow))
    while not begun.is_set():
        await asyncio.sleep(0.001)  # the loop runs
    assert await database.read(names) == set()
    go_on.set()
    await writing
    assert await database.read(names) == {"slow"}


async def test_writers_of_one_process_do_not_get_into_each_others_way(database: Database) -> None:
    def add(conn: Any) -> None:
        row = conn.scalar(select(state.c.value).where(state.c.name == "count").with_for_update())
        conn.execute(state.update().where(state.c.name == "count").values(value=row + 1))

    await database.write(note, "count", value=0)
    await asyncio.gather(*(database.write(add) for _ in range(40)))
    assert await database.read(lambda s: s.scalar(select(state.c.value))) == 40


def test_a_power_cut_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    """What SQLite promises for these settings; the settings are what we can test."""
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.transaction() as conn:
        pragmas = {
            n: conn.exec_driver_sql(f"PRAGMA {n}").scalar()
            for n in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'a.db'}")
    database.migrate()
    database.close()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_what_a_killed_process_committed_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    code = f"""
import os
from hunyuanocr.store.database import Database
from hunyuanocr.store.tables import state
database = Database("sqlite:///{path}")
with database.transaction() as session:
    session.execute(state.insert().values(owner="local", name="kept", value=1))
with database.transaction() as session:
    session.execute(state.insert().values(owner="local", name="lost", value=1))
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -9
    database = Database(f"sqlite:///{path}")
    with database.read_transaction() as conn:
        assert names(conn) == {"kept"}
    database.close()


async def test_closed(database: Database) -> None:
    await database.write(note, "x")
    database.close()
    database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.write(note, "y")


def test_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    for module in migrations.MODULES:
        importlib.import_module(module)
    database.migrate()
    database.migrate()
    with database.read_transaction() as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata) == []


def test_migrations_lead_back_to_nothing_and_here_again(database: Database) -> None:
    database.migrate()
    with database.transaction() as conn:
        note(conn, "x")
        migrations.downgrade(conn, "base")
        assert compare_tables(conn) == set()
        migrations.upgrade(conn)
        assert names(conn) == set()


def test_renamed_columns_keep_their_values(database: Database) -> None:
    """Both ways: upgrade from 0004 and downgrade to it."""
    now = datetime(2026, 7, 1, tzinfo=UTC)
    job = jobs.Job("j1", "shop", now, {"instruction": "合计"}, 1, webhook="https://shop.test/")
    delivery = deliveries.Delivery("j1", "d1", "shop", "https://shop.test/", now, last_error="Response status 500.")
    database.migrate()
    with database.transaction() as conn:
        jobs.insert(conn, job, b"x", 1)
        conn.execute(deliveries.deliveries.insert().values(asdict(delivery)))
        migrations.downgrade(conn, "0004")
        assert conn.scalar(select(column("wanted", Json)).select_from(text("jobs"))) == job.params
        assert conn.execute(text("SELECT trouble FROM job_webhooks")).scalar_one() == "Response status 500."
        migrations.upgrade(conn)
        found = jobs.get(conn, "shop", "j1")
        assert found is not None
        assert found.params == job.params
        assert conn.execute(select(deliveries.deliveries.c.last_error)).scalar_one() == "Response status 500."


def compare_tables(conn: Connection) -> set[Any]:
    from sqlalchemy import inspect

    return set(inspect(conn).get_table_names()) - {"alembic_version"}


def test_every_row_has_an_owner(database: Database) -> None:
    for module in migrations.MODULES:
        importlib.import_module(module)
    assert [t.name for t in metadata.tables.values() if "owner" not in t.c or t.c.owner.nullable] == []


def test_a_failed_migration_leaves_what_was(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing, in SQLite as well."""

    def half(config: Any, revision: Any) -> None:
        conn = config.attributes["conn"]
        conn.execute(text("CREATE TABLE half (x INTEGER)"))
        raise RuntimeError("no power")

    with monkeypatch.context() as patch:
        patch.setattr(alembic.command, "upgrade", half)
        with pytest.raises(RuntimeError):
            database.migrate()
    with database.transaction() as conn:
        assert "half" not in compare_tables(conn)
        assert "records" in compare_tables(conn)


def test_a_database_from_a_newer_version_is_refused(database: Database) -> None:
    with database.transaction() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    again = Database(database.url.render_as_string(hide_password=False))
    with pytest.raises(ConfigError, match="newer version"), again.read_transaction():
        pass
    again.close()


def test_processes_that_start_at_once_migrate_once(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    code = f"""
import sys
from hunyuanocr.store.database import Database
database = Database({url!r})
sys.stdin.readline()
database.migrate()
database.close()
"""
    start = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    ends = [(p.communicate(b"go\n", timeout=100)[1], p.returncode) for p in start]
    assert ends == [(b"", 0)] * 3
    with database.read_transaction() as conn:
        assert conn.scalar(text("SELECT count(*) FROM alembic_version")) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("no url at all", "not a database URL"),
        ("mysql://host/name", "mysql"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("oracle+nothing://x", "oracle"),
    ],
)
def test_a_url_that_cannot_work_is_reported_at_once(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Database(url)


def test_the_password_is_not_shown() -> None:
    database = Database("postgresql://shop:s3cret@127.0.0.1/x")
    assert "s3cret" not in database.display_url
    database.close()


def failing(database: Database, *words: str) -> None:
    """The error and the hint name what is wrong."""
    with pytest.raises(StoreUnavailable) as caught, database.transaction() as conn:
        note(conn, new_id(), value="x" * 200_000)
    assert all(word in f"{caught.value.message} {caught.value.hint}" for word in words), (caught.value.message, caught.value.hint)
    assert caught.value.retryable


def test_disk_full(tmp_path: Path) -> None:
    """A file system of 1 MB where we may mount one; else SQLite's own limit, which gives the same error."""
    place, mounted = tmp_path / "small", False
    place.mkdir()
    if os.geteuid() == 0:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode == 0
    database = Database(f"sqlite:///{place / 'a.db'}")
    try:
        with database.transaction() as conn:
            note(conn, "before")
        if not mounted:
            limited(database)
        with pytest.raises(StoreUnavailable, match="full") as caught:
            fill(database)
        assert "Free disk space" in caught.value.hint
        with database.read_transaction() as conn:
            assert "before" in names(conn), "what was there can still be read"
    finally:
        database.close()
        if mounted:
            subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_database_file_that_was_deleted_or_replaced_is_an_error(tmp_path: Path, replaced: Any) -> None:
    """Everything that was written to the deleted file was lost without a word."""
    file, away = tmp_path / "a.db", tmp_path / "away.db"
    database = Database(f"sqlite:///{file}")
    with database.transaction() as conn:
        note(conn, "before")
    assert database.trouble is None
    file.rename(away)
    if replaced:
        file.write_bytes(away.read_bytes())
    failing(database, str(file), "deleted or replaced", "restart")
    with pytest.raises(StoreUnavailable, match="deleted or replaced"), database.read_transaction():
        pass
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        database.truncate_wal()
    assert str(file) in (database.trouble or "")
    assert file.exists() == replaced, "no empty database appears in its place"
    away.rename(file)
    assert database.trouble is None
    with database.transaction() as conn:
        note(conn, "after")
        assert names(conn) == {"before", "after"}
    database.close()


def fill(database: Any) -> None:
    for _ in range(30):
        with database.transaction() as conn:
            note(conn, new_id(), value="x" * 100_000)


def limited(database: Database) -> None:
    from sqlalchemy import event

    event.listen(database.engine, "begin", lambda c: c.exec_driver_sql("PRAGMA max_page_count=200"))


def test_read_only(tmp_path: Path) -> None:
    """By a read-only mount for root, whom file modes do not bind; by file modes for others. Its log cannot be made there."""
    place = tmp_path / "folder"
    place.mkdir()
    database = Database(f"sqlite:///{place / 'a.db'}")
    with database.transaction() as conn:
        note(conn, "before")
    database.close()
    root = os.geteuid() == 0
    if root:
        subprocess.run(["mount", "--bind", place, place], check=True)
        if subprocess.run(["mount", "-o", "remount,bind,ro", place], capture_output=True).returncode:
            subprocess.run(["umount", place], check=True)
            pytest.skip("this machine does not let root mount")
    else:
        (place / "a.db").chmod(0o444)
        place.chmod(0o555)
    database = Database(f"sqlite:///{place / 'a.db'}")
    try:
        failing(database, "writ")
    finally:
        database.close()
        if root:
            subprocess.run(["umount", place], check=True)
        place.chmod(0o755)


def test_locked_by_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}", busy_ms=50)
    database.migrate()
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failing(database, "locked")
    other.execute("ROLLBACK")
    other.close()
    with database.transaction() as conn:
        note(conn, "after")
    database.close()


def test_damaged_and_missing(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, but long enough to be taken for one" * 100)
    damaged = Database(f"sqlite:///{tmp_path / 'a.db'}")
    failing(damaged, "not a database", "backup")
    damaged.close()
    (tmp_path / "file").touch()
    nowhere = Database(f"sqlite:///{tmp_path / 'file' / 'a.db'}")
    failing(nowhere, "folder")
    nowhere.close()


def test_no_server() -> None:
    database = Database("postgresql://shop@127.0.0.1:1/x")
    failing(database, "cannot be reached", "store.url")
    database.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_refused_by_the_server(database: Any) -> None:
    database.migrate()
    wrong = Database(database.url.set(database="nobody_made_it").render_as_string(hide_password=False))
    failing(wrong, "refuses", "store.url")
    wrong.close()
    with database.transaction() as conn:
        conn.execute(text("ALTER ROLE shop SET default_transaction_read_only = on"))
    other = Database(database.url.render_as_string(hide_password=False))
    other.migrated = True
    try:
        failing(other, "read-only")
    finally:
        other.close()
        with database.transaction() as conn:
            conn.execute(text("ALTER ROLE shop RESET default_transaction_read_only"))


async def test_a_server_that_was_away_is_taken_up_again(postgres_server: Server, postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.write(note, "before")
    postgres_server.stop()
    with pytest.raises(StoreUnavailable):
        await database.write(note, "lost")
    postgres_server.start()
    await database.write(note, "after")
    assert await database.read(names) == {"before", "after"}
    database.close()


def test_deleted_words_are_not_in_the_files(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    with database.transaction() as conn:
        note(conn, "secret", value="diagnosis-4711" * 50)
        note(conn, "other", value="harmless")
    assert found(tmp_path)
    with database.transaction() as conn:
        conn.execute(state.delete().where(state.c.name == "secret"))
    database.truncate_wal()
    assert not found(tmp_path)
    database.close()


def found(folder: Path) -> list[Any]:
    return [p.name for p in folder.iterdir() if b"diagnosis-4711" in p.read_bytes()]


def test_times_are_utc_and_have_a_zone(database: Database) -> None:
    from hunyuanocr.store.tables import outbox, records
    from tests.store.results import kept

    shanghai = datetime(2026, 11, 20, 20, 0, tzinfo=timezone(timedelta(hours=8)))
    from hunyuanocr.store.records import insert

    with database.transaction() as conn:
        made = kept()
        insert(conn, made)
        conn.execute(outbox.insert().values(record_id=made.record.id, owner="local", queued_at=shanghai))
        assert conn.scalar(select(outbox.c.queued_at)) == datetime(2026, 11, 20, 12, tzinfo=UTC)
        assert conn.scalar(select(outbox.c.queued_at)).tzinfo is UTC
        assert conn.scalar(select(records.c.id).where(records.c.created_at <= shanghai)) == made.record.id
    with pytest.raises(Exception, match="without a time zone"), database.transaction() as conn:
        conn.execute(outbox.update().values(queued_at=datetime(2026, 1, 1)))


def test_ids_sort_by_time() -> None:
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert first < second
    assert len(first) == 32
    assert first[12] == "7"
    assert first[16] in "89ab"
    assert len({new_id() for _ in range(1000)}) == 1000


def test_a_reader_in_the_middle_hinders_the_scrubbing_until_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.truncate_attempts = 2
    with database.transaction() as conn:
        note(conn, "secret", value="diagnosis-4711" * 50)
    with database.read_transaction() as reader:
        assert names(reader) == {"secret"}
        with database.transaction() as conn:
            conn.execute(state.delete())
        database.truncate_wal()
        assert found(tmp_path)
    database.truncate_wal()
    assert not found(tmp_path)
    database.close()


async def test_the_file_is_its_owners_alone_also_in_an_open_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    try:
        await database.write(note, "once")
        files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        assert files.keys() >= {"shop.db", "shop.db-wal"}
        assert set(files.values()) == {0o600}
    finally:
        database.close()


async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch(mode=0o640)
    mode = (tmp_path / "shop.db").stat().st_mode
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    try:
        await database.write(note, "once")
        assert (tmp_path / "shop.db").stat().st_mode == mode
    finally:
        database.close()
