"""The data folder, its disk, and the database: there, writable, whole, of this version."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from hunyuanocr.cli.checks.result import CheckResult, Words, same_text
from hunyuanocr.config import Settings

_DISK = ("磁盘", "Disk")
_FOLDER = ("数据目录", "Data folder")
_DATABASE = ("数据库", "Database")
_RESTORE = ("请用备份恢复：hunyuanocr restore", "Restore a backup: hunyuanocr restore")
_AGES = ("到期删除", "Deletion by age")
_CHECKED_BYTES = 1 << 30  # larger ones take too long to be looked through
_BUSY_S = 3.0


def check_disk(settings: Settings) -> CheckResult:
    """Room where the data lies."""
    folder = _there(settings.data)
    free = shutil.disk_usage(folder).free / 2**30
    detail = (f"{folder} 空闲 {free:.1f} GB", f"{free:.1f} GB free at {folder}")
    if free < 1:
        fix = ("请清理磁盘，或缩短记录与图片的保留时间。", "Free some space, or keep records and pictures for a shorter time.")
        return CheckResult("disk", "fail", _DISK, detail, fix)
    return CheckResult("disk", "ok", _DISK, detail)


def _there(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_folder(settings: Settings) -> CheckResult:
    """A file can be made in it, or it can be made."""
    data = settings.data.absolute()
    try:
        with tempfile.TemporaryFile(dir=data if data.is_dir() else _there(data)):
            pass
    except OSError as e:
        fix = (
            f"请让运行本程序的用户可以写入：chown -R 用户 {data}，或用设置 data 选择其他目录。",
            f"Let this program's user write there: chown -R USER {data}, or choose another folder with the setting 'data'.",
        )
        return CheckResult("data", "fail", _FOLDER, same_text(f"{data}: {e.strerror}"), fix)
    return CheckResult("data", "ok", _FOLDER, (f"{data} 可写", f"{data} can be written"))


def check_database(settings: Settings) -> CheckResult:
    """Answers, may be written, is whole, and no newer program has changed it. It is not changed here."""
    if not settings.store.enabled:
        return CheckResult("database", "ok", _DATABASE, ("没有开启（store.enabled）", "switched off (store.enabled)"))
    from hunyuanocr.errors import HunyuanOcrError
    from hunyuanocr.store.database import Database

    try:
        opened = Database(settings.database_url)
    except HunyuanOcrError as e:
        return CheckResult("database", "fail", _DATABASE, same_text(e.message), same_text(e.hint))
    if not opened.sqlite:
        return _postgres(settings)
    file = Path(str(opened.url.database))
    if not file.exists():
        return CheckResult("database", "ok", _DATABASE, (f"{file} 首次使用时建立", f"{file} will be made at the first use"))
    return _sqlite(file)


def _sqlite(file: Path) -> CheckResult:
    try:
        connection = sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            small = file.stat().st_size < _CHECKED_BYTES
            wrong = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if small else "ok"
        finally:
            connection.close()
    except (sqlite3.Error, TypeError) as e:
        return _broken(file, e)
    if wrong != "ok":
        return CheckResult("database", "fail", _DATABASE, (f"{file} 已损坏", f"{file} is damaged"), _RESTORE)
    return _of_version(str(file), revision)


def _broken(file: Path, error: Exception) -> CheckResult:
    code = getattr(error, "sqlite_errorname", "")
    fix: Words = _RESTORE
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        fix = ("请让运行本程序的用户可以写入该文件及其目录。", "Let this program's user write the file and its folder.")
    elif code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        fix = ("请关闭打开它的其他程序。", "Close what else has it open.")
    return CheckResult("database", "fail", _DATABASE, same_text(f"{file}: {error}"), fix)


def _postgres(settings: Settings) -> CheckResult:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    place = url.render_as_string(hide_password=True)
    fix = ("请检查网络、服务器是否运行，以及 store.url 中的用户、密码和库名。",
           "Look at the network, whether the server runs, and at user, password and name in 'store.url'.")  # fmt: skip
    try:
        engine = create_engine(url, connect_args={"connect_timeout": 5})
        with engine.connect() as conn:
            standby = conn.scalar(text("SELECT pg_is_in_recovery()"))
            there = conn.scalar(text("SELECT to_regclass('alembic_version')"))
            revision = None if there is None else conn.scalar(text("SELECT version_num FROM alembic_version"))
        engine.dispose()
    except SQLAlchemyError:
        return CheckResult("database", "fail", _DATABASE, (f"{place} 没有应答", f"{place} does not answer"), fix)
    if standby:
        fix = ("请在 store.url 中填写主库的地址。", "Give the address of the primary in 'store.url'.")
        return CheckResult("database", "fail", _DATABASE, (f"{place} 是只读的备库", f"{place} is a standby that only reads"), fix)
    if revision is None:
        return CheckResult(
            "database", "ok", _DATABASE, (f"{place} 首次使用时建表", f"{place}: tables will be made at the first use")
        )
    return _of_version(place, revision)


def _of_version(place: str, revision: str) -> CheckResult:
    from hunyuanocr.store.migrations import head, known

    if not known(revision):
        detail = (f"{place} 由更新版本的程序写成（{revision}）", f"{place} is from a newer version of this program ({revision})")
        fix = ("请更新程序，或恢复备份。", "Update the program, or restore a backup.")
        return CheckResult("database", "fail", _DATABASE, detail, fix)
    if revision != head():
        detail = (f"{place}：版本 {revision}，应为 {head()}", f"{place}: at revision {revision}, this program's is {head()}")
        fix = ("无需处理：下次启动时自动升级（请先备份）。", "Nothing to do: the next start migrates it (make a backup first).")
        return CheckResult("database", "warn", _DATABASE, detail, fix)
    return CheckResult("database", "ok", _DATABASE, (f"{place}，版本 {revision}，完好", f"{place}, revision {revision}, whole"))


def ages(settings: Settings) -> Iterator[CheckResult]:
    """Nothing where all is well; else that the clock has jumped and nothing is deleted by age for now. SQLite alone is asked."""
    url = settings.database_url
    file = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not file.is_file():
        return
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=_BUSY_S)) as connection:
            row = connection.execute("SELECT value FROM state WHERE name = 'clock'").fetchone()
        doubt = None if row is None else json.loads(row[0])["pending"]
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return  # reported above
    if doubt is not None:
        hours = max(0.0, 24 - float(doubt["ran_s"]) / 3600)
        detail = (
            f"时钟跳变过，再连续走准约 {hours:.0f} 小时之前，不会按保留期限删除任何内容",
            f"the clock has jumped: nothing is deleted by age until it has run evenly for {hours:.0f} hours more",
        )
        fix = ("请核对系统时间；时间正确就不用处理。", "See that the clock is right; if it is, there is nothing to do.")
        yield CheckResult("ages", "warn", _AGES, detail, fix)


def check_storage(settings: Settings) -> Iterator[CheckResult]:
    """All of it."""
    yield check_disk(settings)
    yield check_folder(settings)
    yield check_database(settings)
    yield from ages(settings)
