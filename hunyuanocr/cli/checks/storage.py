"""Checks of the data folder, its disk and the database: present, writable, intact, and of this version."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from hunyuanocr.cli.checks.result import Bilingual, CheckResult, same_text
from hunyuanocr.config import Settings
from hunyuanocr.store.database_file import sqlite_uri

_DISK = ("磁盘", "Disk")
_FOLDER = ("数据目录", "Data folder")
_DATABASE = ("数据库", "Database")
_RESTORE = ("请用备份恢复：hunyuanocr restore", "Restore a backup: hunyuanocr restore")
_AGES = ("到期删除", "Retention")
_MAX_CHECKED_BYTES = 1 << 30  # checking a larger database takes too long
_BUSY_S = 3.0


def check_disk(settings: Settings) -> CheckResult:
    """Check the free space on the disk of the data folder."""
    folder = _nearest_existing(settings.data)
    free = shutil.disk_usage(folder).free / 2**30
    detail = (f"{folder} 空闲 {free:.1f} GB", f"{free:.1f} GB free in {folder}")
    if free < 1:
        fix = ("请清理磁盘，或缩短记录和图片的保留时间。", "Free disk space, or shorten the retention of records and images.")
        return CheckResult("disk", "fail", _DISK, detail, fix)
    return CheckResult("disk", "ok", _DISK, detail)


def _nearest_existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def check_folder(settings: Settings) -> CheckResult:
    """Check that a file can be created in the data folder, or the folder itself."""
    data = settings.data.absolute()
    try:
        with tempfile.TemporaryFile(dir=data if data.is_dir() else _nearest_existing(data)):
            pass
    except OSError as e:
        fix = (
            f"请给运行本程序的用户写入权限：chown -R 用户 {data}，或用设置 data 换一个目录。",
            f"Give the user of this program write permission: chown -R USER {data}, or set 'data' to another folder.",
        )
        return CheckResult("data", "fail", _FOLDER, same_text(f"{data}: {e.strerror}"), fix)
    return CheckResult("data", "ok", _FOLDER, (f"{data} 可写", f"{data} is writable."))


def check_database(settings: Settings) -> CheckResult:
    """Check that the database answers, is writable and intact, and was not migrated by a newer version. Change nothing."""
    if not settings.store.enabled:
        return CheckResult("database", "ok", _DATABASE, ("没有开启（store.enabled）", "Disabled (store.enabled)."))
    from hunyuanocr.errors import HunyuanOcrError
    from hunyuanocr.store.database import Database

    try:
        database = Database(settings.database_url)
    except HunyuanOcrError as e:
        return CheckResult("database", "fail", _DATABASE, same_text(e.message), same_text(e.hint))
    if not database.sqlite:
        return _postgres(settings)
    file = Path(str(database.url.database))
    if not file.exists():
        return CheckResult("database", "ok", _DATABASE, (f"{file} 首次使用时建立", f"{file} will be created on first use."))
    return check_sqlite(file)


def check_sqlite(file: Path) -> CheckResult:
    """Check that the database file can be read and written."""
    try:
        connection = sqlite3.connect(sqlite_uri(file, "mode=rw"), uri=True, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
            small = file.stat().st_size < _MAX_CHECKED_BYTES
            state = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if small else "ok"
        finally:
            connection.close()
    except (sqlite3.Error, TypeError) as e:
        return _broken(file, e)
    if state != "ok":
        return CheckResult("database", "fail", _DATABASE, (f"{file} 已损坏", f"{file} is damaged."), _RESTORE)
    return _check_revision(str(file), revision)


def _broken(file: Path, error: Exception) -> CheckResult:
    code = getattr(error, "sqlite_errorname", "")
    fix: Bilingual = _RESTORE
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_IOERR")):
        fix = (
            "请给运行本程序的用户写入该文件和目录的权限。",
            "Give the user of this program write permission for the file and its folder.",
        )
    elif code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        fix = ("请关闭正在使用它的其他程序。", "Close the other program that uses it.")
    return CheckResult("database", "fail", _DATABASE, same_text(f"{file}: {error}"), fix)


def _postgres(settings: Settings) -> CheckResult:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError

    url = make_url(settings.database_url).set(drivername="postgresql+psycopg")
    address = url.render_as_string(hide_password=True)
    fix = (
        "请检查网络、数据库服务器是否运行，以及 store.url 里的用户名、密码和库名。",
        "Check the network, that the server runs, and the user, password and database name in 'store.url'.",
    )
    try:
        engine = create_engine(url, connect_args={"connect_timeout": 5})
        with engine.connect() as conn:
            standby = conn.scalar(text("SELECT pg_is_in_recovery()"))
            table = conn.scalar(text("SELECT to_regclass('alembic_version')"))
            revision = None if table is None else conn.scalar(text("SELECT version_num FROM alembic_version"))
        engine.dispose()
    except SQLAlchemyError:
        return CheckResult("database", "fail", _DATABASE, (f"{address} 没有应答", f"{address} does not answer."), fix)
    if standby:
        fix = ("请在 store.url 里填主库的地址。", "Set 'store.url' to the address of the primary server.")
        detail = (f"{address} 是只读的备库", f"{address} is a read-only standby server.")
        return CheckResult("database", "fail", _DATABASE, detail, fix)
    if revision is None:
        return CheckResult(
            "database", "ok", _DATABASE, (f"{address} 首次使用时建表", f"{address}: tables will be created on first use.")
        )
    return _check_revision(address, revision)


def _check_revision(address: str, revision: str) -> CheckResult:
    from hunyuanocr.store.migrations import head, known

    if not known(revision):
        detail = (f"{address} 由更新版本的程序写成（{revision}）", f"{address} was written by a newer version ({revision}).")
        fix = ("请更新程序，或恢复备份。", "Update the program, or restore a backup.")
        return CheckResult("database", "fail", _DATABASE, detail, fix)
    if revision != head():
        detail = (f"{address}：版本 {revision}，应为 {head()}", f"{address}: revision {revision}, expected {head()}.")
        fix = ("不用处理：下次启动时自动升级（请先备份）。", "No action needed: the next start migrates it (back up first).")
        return CheckResult("database", "warn", _DATABASE, detail, fix)
    detail = (f"{address}，版本 {revision}，完好", f"{address}, revision {revision}, intact.")
    return CheckResult("database", "ok", _DATABASE, detail)


def ages(settings: Settings) -> Iterator[CheckResult]:
    """Yield a warning if the clock has jumped, which pauses deletion by age. SQLite only; nothing if all is well."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(settings.database_url)
    except ArgumentError:
        return  # check_database has reported it
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not file.is_file():
        return
    try:
        with closing(sqlite3.connect(sqlite_uri(file, "mode=ro"), uri=True, timeout=_BUSY_S)) as connection:
            row = connection.execute("SELECT value FROM state WHERE name = 'clock'").fetchone()
        pending = None if row is None else json.loads(row[0])["pending"]
    except (sqlite3.Error, ValueError, KeyError, TypeError):
        return  # check_database has reported it
    if pending is not None:
        hours = max(0.0, 24 - float(pending["ran_s"]) / 3600)
        detail = (
            f"系统时间跳变过；时钟再连续走准约 {hours:.0f} 小时后，才恢复到期删除",
            f"The clock has jumped: deletion by age is paused until the clock has run evenly for {hours:.0f} more hours.",
        )
        fix = ("请核对系统时间；时间对就不用处理。", "Check the system time; if it is correct, no action is needed.")
        yield CheckResult("ages", "warn", _AGES, detail, fix)


def check_storage(settings: Settings) -> Iterator[CheckResult]:
    """Run all storage checks."""
    yield check_disk(settings)
    yield check_folder(settings)
    yield check_database(settings)
    yield from ages(settings)
