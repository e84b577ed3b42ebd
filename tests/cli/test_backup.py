"""A backup made under load is whole, what is restored elsewhere is equal, and what is damaged is refused."""

import asyncio
import fcntl
import gzip
import io
import json
import os
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hunyuanocr.cli import app
from hunyuanocr.cli.checks import storage
from hunyuanocr.config import Settings, StoreSettings
from hunyuanocr.errors import ConfigError
from hunyuanocr.services.recorder import Recorder
from hunyuanocr.store import migrations, records
from hunyuanocr.store.database import Database
from hunyuanocr.store.search import RecordQuery
from tests.store.results import result
from tests.support.fake_backend import picture


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments: Any) -> ConfigError:
    done = run(*arguments)
    assert isinstance(done.exception, ConfigError), done.output
    return done.exception


class Shop:
    """A data folder with its records, written as the appliance writes them."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data, store=StoreSettings(keep_images=True))
        self.database = Database(self.settings.database_url)
        self.recorder = Recorder(self.database, self.settings)

    def add(self, number: int) -> None:
        made = asyncio.run(
            self.recorder.record(
                result(id=f"{number:032x}"), owner="local", source="ocr", instruction="提取总金额", image=picture(number % 256)
            )
        )
        assert "not_recorded" not in {n.code for n in made.notices}

    def all(self) -> dict[str, tuple]:
        with self.database.read_transaction() as session:
            found = records.search(session, RecordQuery("local"), 100_000)
            return {r.id: (r, records.get(session, "local", r.id)[1]) for r in found}

    def close(self) -> None:
        self.database.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "data")
    for number in range(20):
        made.add(number)
    yield made
    made.close()


def test_a_backup_under_load_restores_elsewhere_as_it_was(shop: Shop, tmp_path: Path) -> None:
    before, stop = shop.all(), threading.Event()
    other = Shop(tmp_path / "data")  # another process's way to the same file

    def write() -> None:
        number = 1000
        while not stop.is_set() and number < 5000:
            other.add(number)
            number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        done = run("backup", tmp_path / "shop.tar.gz", "--data", tmp_path / "data")
    finally:
        stop.set()
        writing.join(60)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "shop.tar.gz").stat().st_mode & 0o077 == 0, "for its owner alone"
    assert list(tmp_path.glob(".backup-*")) == []
    done = run("restore", tmp_path / "shop.tar.gz", "--data", tmp_path / "elsewhere")
    assert done.exit_code == 0, done.output
    there, all_ = Shop(tmp_path / "elsewhere"), shop.all()
    restored = there.all()
    assert before.items() <= restored.items(), "what was there when it began"
    assert restored.items() <= all_.items(), "and nothing that was not"
    for record, _ in restored.values():
        assert there.recorder.pictures.path(record.image).read_bytes() == shop.recorder.pictures.path(record.image).read_bytes()
    there.add(9999)
    there.close()
    other.close()


def test_a_picture_that_is_deleted_meanwhile_is_left_out(shop: Shop, tmp_path: Path) -> None:
    gone = next((tmp_path / "data" / "images").glob("??/*"))
    gone.unlink()
    assert run("backup", tmp_path / "shop.tar.gz", "--data", tmp_path / "data").exit_code == 0
    assert run("restore", tmp_path / "shop.tar.gz", "--data", tmp_path / "new").exit_code == 0
    assert {p.name for p in (tmp_path / "new" / "images").glob("??/*")} == {r.image for r, _ in shop.all().values()} - {gone.name}
    assert list((tmp_path / "data").glob(".backup-*")) == []


def test_what_a_killed_backup_left_is_swept_up_by_the_next(shop: Shop, tmp_path: Path) -> None:
    shop.add(1)
    with ExitStack() as locks:
        for folder in (shop.settings.data, tmp_path):
            for name in (".backup-dead", ".backup-at-work"):
                (folder / name).mkdir()
                (folder / name / "picture").write_bytes(b"a picture whose record has been deleted")
            handle = os.open(folder / ".backup-at-work", os.O_RDONLY)
            locks.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)  # as its process holds it
        assert run("backup", tmp_path / "b.tar.gz", "--data", shop.settings.data).exit_code == 0
        for folder in (shop.settings.data, tmp_path):
            assert {path.name for path in folder.glob(".backup-*")} == {".backup-at-work"}


def test_what_is_there_is_not_overwritten_unasked(shop: Shop, tmp_path: Path) -> None:
    archive = tmp_path / "shop.tar.gz"
    assert run("backup", archive, "--data", tmp_path / "data").exit_code == 0
    assert "already exists" in refused("backup", archive, "--data", tmp_path / "data").message
    assert run("backup", archive, "--data", tmp_path / "data", "--force").exit_code == 0
    shop.add(77)
    assert "already exists" in refused("restore", archive, "--data", tmp_path / "data").message
    assert "A server uses" in refused("restore", archive, "--data", tmp_path / "data", "--force").message, "the shop is open"
    assert len(shop.all()) == 21
    shop.close()
    assert run("restore", archive, "--data", tmp_path / "data", "--force").exit_code == 0
    again = Shop(tmp_path / "data")
    assert len(again.all()) == 20
    again.close()


def test_a_damaged_database_can_be_replaced(shop: Shop, tmp_path: Path) -> None:
    archive = tmp_path / "shop.tar.gz"
    run("backup", archive, "--data", tmp_path / "data")
    shop.close()
    (tmp_path / "data" / "hunyuanocr.db").write_bytes(b"nonsense" * 1000)
    assert run("restore", archive, "--data", tmp_path / "data", "--force").exit_code == 0
    again = Shop(tmp_path / "data")
    assert len(again.all()) == 20
    again.close()


def repacked(archive: Path, change: Callable[..., Any]) -> Path:
    """The archive with its members changed: `change` gets names and contents, in order."""
    with tarfile.open(archive) as old:
        members = {m.name: old.extractfile(m).read() for m in old}
    changed = archive.with_name("changed.tar.gz")
    with tarfile.open(changed, "w:gz") as new:
        for name, data in change(members).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return changed


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def listing(members: Any, **more: Any) -> Any:
    reported = json.loads(members["manifest.json"]) | more
    return members | {"manifest.json": json.dumps(reported).encode()}


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m | {"hunyuanocr.db": flipped(m["hunyuanocr.db"])},
        lambda m: {n: d for n, d in m.items() if n != "hunyuanocr.db"},
        lambda m: {n: d for n, d in m.items() if not n.startswith("images/")},
        lambda m: {n: d for n, d in m.items() if n != "manifest.json"},
        lambda m: m | {"../../outside": b"x"},
        lambda m: m | {"images/ab/evil.sh": b"x"},
        lambda m: listing(m, form=99),
        lambda m: listing(m, files=7),
        lambda m: m | {"manifest.json": b"[]"},
        lambda m: listing(m, files=sorted(json.loads(m["manifest.json"])["files"])),
        lambda m: listing(m, files={"hunyuanocr.db": [1]}),
        lambda m: listing(m, records=None),
        lambda m: m | {"manifest.json": b'{"form": 1}'},
        lambda m: m | {"manifest.json": b"[" * 100_000},
    ],
    ids=[
        "flipped",
        "no-database",
        "no-pictures",
        "no-list",
        "outside",
        "a-script",
        "form",
        "odd-list",
        "no-object",
        "a-list-of-files",
        "odd-file",
        "no-records",
        "nothing-else",
        "deep",
    ],
)
def test_a_damaged_or_forged_archive_is_refused_and_nothing_is_touched(
    shop: Shop, tmp_path: Path, change: Callable[..., Any]
) -> None:
    archive = tmp_path / "shop.tar.gz"
    run("backup", archive, "--data", tmp_path / "data")
    error = refused("restore", repacked(archive, change), "--data", tmp_path / "new" / "data")
    assert "damaged" in error.message
    assert [p.name for p in (tmp_path / "new").rglob("*") if p.is_file()] == ["lock"]
    assert not (tmp_path / "outside").exists()


def test_a_cut_archive_and_a_file_that_is_none(shop: Shop, tmp_path: Path) -> None:
    archive = tmp_path / "shop.tar.gz"
    run("backup", archive, "--data", tmp_path / "data")
    whole = archive.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:-20], b"", b"no archive", gzip.compress(b"no tar")):
        archive.write_bytes(part)
        assert "damaged" in refused("restore", archive, "--data", tmp_path / "new").message
    assert "not found" in refused("restore", tmp_path / "none", "--data", tmp_path / "new").message
    assert "No database found" in refused("backup", tmp_path / "x.tar.gz", "--data", tmp_path / "empty").message


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM audit; END", "trigger 't'"),
        ("CREATE VIEW v AS SELECT 1", "view 'v'"),
        ("CREATE TABLE other (x)", "table 'other'"),
        ("ALTER TABLE records ADD COLUMN x TEXT AS (lower(text))", "table 'records'"),
        ("ANALYZE", None),
    ],
)
def test_an_archive_with_a_database_that_another_program_changed_is_refused(
    shop: Any, tmp_path: Path, statement: Any, named: Any
) -> None:
    shop.close()
    with closing(sqlite3.connect(tmp_path / "data" / "hunyuanocr.db")) as connection, connection:
        connection.execute(statement)
    archive = tmp_path / "shop.tar.gz"
    run("backup", archive, "--data", tmp_path / "data")
    arguments = ("restore", archive, "--data", tmp_path / "new")
    if named is None:
        assert run(*arguments).exit_code == 0
    else:
        assert named in refused(*arguments).message
        assert not (tmp_path / "new" / "hunyuanocr.db").exists()


def test_a_backup_of_an_older_revision_is_restored(tmp_path: Path) -> None:
    old = Database(f"sqlite:///{tmp_path / 'hunyuanocr.db'}")
    old.migrate()
    with old.transaction() as conn:
        migrations.downgrade(conn, "0003")
    old.close()
    archive = tmp_path / "shop.tar.gz"
    assert run("backup", archive, "--data", tmp_path).exit_code == 0
    done = run("restore", archive, "--data", tmp_path / "new")
    assert done.exit_code == 0, done.output


def test_a_backup_of_a_newer_program_is_refused(shop: Any, tmp_path: Path) -> None:
    shop.close()
    with sqlite3.connect(tmp_path / "data" / "hunyuanocr.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    run("backup", tmp_path / "shop.tar.gz", "--data", tmp_path / "data")
    assert "newer version" in refused("restore", tmp_path / "shop.tar.gz", "--data", tmp_path / "new").message


def test_settings_go_along_without_secrets(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_JOBS__WEBHOOK_SECRET", "whsec_" + "QUFB" * 8)
    monkeypatch.setenv("HUNYUANOCR_SYNC__SITE", 'Shop "7" \\ 北街')
    run("backup", tmp_path / "shop.tar.gz", "--data", tmp_path / "data")
    run("restore", tmp_path / "shop.tar.gz", "--data", tmp_path / "new")
    file = tmp_path / "new" / "settings-of-backup.toml"
    assert "QUFB" not in file.read_text()
    monkeypatch.delenv("HUNYUANOCR_JOBS__WEBHOOK_SECRET")
    monkeypatch.delenv("HUNYUANOCR_SYNC__SITE")
    monkeypatch.delenv("HUNYUANOCR_DATA")
    monkeypatch.setenv("HUNYUANOCR_CONFIG", str(file))
    from hunyuanocr.config import load_settings

    again = load_settings()
    assert (again.sync.site, again.data) == ('Shop "7" \\ 北街', tmp_path / "data")
    assert again.jobs.webhook_secret is None


def test_postgresql_has_its_own_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNYUANOCR_STORE__URL", "postgresql://shop:secret@db.local:5433/till")
    for command in ("backup", "restore"):
        hint = refused(command, tmp_path / "x").hint
        assert "pg_dump --format=custom --file=shop.dump 'postgresql://shop@db.local:5433/till'" in hint
        assert "pg_restore" in hint
        assert "secret" not in hint


def test_every_setting_that_is_no_secret_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above all who may come in: an allow list that is lost would let everybody in."""
    from hunyuanocr.cli.backup_archive import toml
    from hunyuanocr.config import load_settings

    monkeypatch.delenv("HUNYUANOCR_CONFIG", raising=False)
    plain = {
        "network": {"allow": ["192.168.1.0/24", "fe80::/10"], "deny": ["192.168.1.66"], "trusted_proxies": ["172.30.77.2"]},
        "security": {"devices": ["10.0.0.7", "10.0.1.0/24"], "public_hostnames": ["ocr.shop.example"], "session_hours": 1.5},
        "jobs": {"webhook_hosts": ["erp.local"]},
        "watch": {"folder": str(tmp_path / "收据"), "instruction": 'a "quoted"\nline'},
        "log": {"file": str(tmp_path / "a.log")},
    }
    settings = load_settings(**plain, store={"url": "postgresql://u:secret-4711@h/n"})
    (tmp_path / "again.toml").write_text(toml(settings), encoding="utf-8")
    assert "4711" not in toml(settings)
    monkeypatch.setenv("HUNYUANOCR_CONFIG", str(tmp_path / "again.toml"))
    again = load_settings()
    for group in plain:
        assert getattr(again, group) == getattr(settings, group)


@pytest.mark.parametrize("name", ["%41", "a?b", "50%", "a#b", "a b+c", "店 铺", "a&mode=ro"])
def test_the_data_folder_may_have_any_name(tmp_path: Path, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`%41` and `?` have a meaning in URLs: the database was elsewhere."""
    shop = Shop(tmp_path / name)
    shop.add(1)
    shop.close()
    assert (tmp_path / name / "hunyuanocr.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    monkeypatch.setenv("HUNYUANOCR_DATA", str(shop.settings.data))
    assert storage.check_sqlite(shop.settings.data / "hunyuanocr.db").verdict == "ok"
    assert list(storage.ages(shop.settings)) == []
    saved = run("backup", tmp_path / "shop.tar.gz")
    assert saved.exit_code == 0, saved.output
    again = run("restore", tmp_path / "shop.tar.gz", "--force")
    assert again.exit_code == 0, again.output
    assert "1 records" in again.output
