"""`hunyuanocr backup FILE` and `hunyuanocr restore FILE`: all stored data of the appliance in one file."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from hunyuanocr.cli.common import errors
from hunyuanocr.config import Settings, load_settings
from hunyuanocr.errors import ConfigError

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder; default: the setting 'data'.")]
_SETTINGS = "settings-of-backup.toml"
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite existing data.")]


def backup(
    file: Annotated[Path, typer.Argument(help="Archive to write, e.g. shop.tar.gz.")],
    *,
    data: DataOption = None,
    force: ForceOption = False,
) -> None:
    """Write database, stored images and settings (without secrets) to one archive; the server can keep running."""
    from hunyuanocr.cli import backup_archive

    settings, database = _locate(data)
    if file.exists() and not force:
        raise ConfigError(f"{file} already exists.", hint="Choose another name, or use --force.")
    try:
        manifest = backup_archive.write(settings, file, database)
    except OSError as e:
        raise ConfigError(f"Cannot write {file}: {e.strerror}.", hint="Check the folder and free disk space.") from e
    images = sum(name.startswith("images/") for name in manifest["files"])
    size = file.stat().st_size / 1e6
    errors.print(f"{file}: {manifest['records']} records, {manifest['jobs']} jobs, {images} images, {size:.1f} MB.")


def restore(
    file: Annotated[Path, typer.Argument(help="Archive of `hunyuanocr backup`.")],
    *,
    data: DataOption = None,
    force: ForceOption = False,
) -> None:
    """Verify an archive and restore it to the data folder. Stop the server first."""
    from hunyuanocr.store.folder import DataFolder

    settings, database = _locate(data)
    if not file.is_file():
        raise ConfigError(f"File {file} not found.", hint="Use an archive written by `hunyuanocr backup`.")
    if database.exists() and not force:
        raise ConfigError(f"{database} already exists.", hint="Back it up, then use --force to overwrite it.")
    lock = DataFolder(settings.data)
    lock.acquire()  # no server can run or start during the restore
    try:
        manifest = _restore(file, lock.folder, database)
    finally:
        lock.release()
    errors.print(f"{lock.folder}: {manifest['records']} records and {manifest['jobs']} jobs, backed up {manifest['made_at']}.")
    errors.print(f"Settings at the time of the backup: {lock.folder / _SETTINGS} (without secrets; not applied automatically).")


def _restore(file: Path, folder: Path, database: Path) -> dict[str, Any]:
    from hunyuanocr.cli import backup_archive
    from hunyuanocr.store.workdir import RESTORE, workdir

    if database.exists():
        _check_unused(database)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with workdir(folder, RESTORE) as unpacked:
            manifest = backup_archive.read(file, unpacked)
            _move_in(unpacked, folder, database)
    except OSError as e:
        raise ConfigError(f"Cannot write {folder}: {e.strerror}.", hint="Check permissions and free disk space.") from e
    return manifest


def _locate(data: Path | None) -> tuple[Settings, Path]:
    """Return the settings and the database file. For PostgreSQL, raise ConfigError with the commands to use instead."""
    from hunyuanocr.store.database import Database

    settings = load_settings(**({} if data is None else {"data": data}))
    url = Database(settings.database_url).url
    if url.get_backend_name() == "sqlite":
        return settings, Path(str(url.database))
    plain = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    images = f" && tar -C '{settings.data}' -czf images.tar.gz images" if settings.store.keep_images else ""
    raise ConfigError(
        "The records are in PostgreSQL: use its own backup programs.",
        hint=f"Run: pg_dump --format=custom --file=shop.dump '{plain}'{images}   "
        f"(to restore: pg_restore --clean --if-exists --dbname='{plain}' shop.dump)",
    )


def _check_unused(database: Path) -> None:
    """Raise ConfigError if a server has the database open. Leaving WAL mode needs exclusive access and merges the log."""
    try:
        with closing(sqlite3.connect(database, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as e:
        if getattr(e, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ConfigError(f"A server uses {database}.", hint="Stop it, restore, and start it again.") from e
        raise ConfigError(f"Cannot replace {database}: {e}.", hint="Check its permissions.") from e
    except sqlite3.DatabaseError:
        return  # damaged: the restore replaces it


def _move_in(unpacked: Path, folder: Path, database: Path) -> None:
    """Move images first, then the database in one atomic step, so that an interruption leaves the old database."""
    from hunyuanocr.cli import backup_archive
    from hunyuanocr.files import sync_folder

    for image in sorted((unpacked / "images").glob("??/*")):
        target = folder / image.relative_to(unpacked)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        image.replace(target)
    for name, new in ((backup_archive.SETTINGS, _SETTINGS), (backup_archive.MARKER, backup_archive.MARKER)):
        if (unpacked / name).is_file():
            (unpacked / name).replace(folder / new)
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if database.parent.absolute() != folder:  # possibly on another disk
        source = database.with_name(database.name + ".restored")
        shutil.copyfile(unpacked / backup_archive.DATABASE, source)
        source.chmod(0o600)
    else:
        source = unpacked / backup_archive.DATABASE
    for log in ("-wal", "-shm"):
        database.with_name(database.name + log).unlink(missing_ok=True)
    source.replace(database)
    sync_folder(database.parent)
