"""`hunyuanocr backup FILE` and `hunyuanocr restore FILE`: all that the appliance keeps, in one file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from hunyuanocr.cli.common import errors
from hunyuanocr.config import Settings, load_settings
from hunyuanocr.errors import ConfigError

DataOption = Annotated[Path | None, typer.Option("--data", help="Data folder; else the setting 'data'.")]
_SETTINGS = "settings-of-backup.toml"
ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]


def backup(file: Annotated[Path, typer.Argument(help="Archive to write, e.g. shop.tar.gz.")], *, data: DataOption = None,
           force: ForceOption = False) -> None:  # fmt: skip
    """Write database, kept pictures and settings (without secrets) into one archive; the server may run meanwhile."""
    from hunyuanocr.cli import backup_archive

    settings, database = _place(data)
    if file.exists() and not force:
        raise ConfigError(f"{file} is there already.", hint="Choose another name, or add --force.")
    try:
        made = backup_archive.write(settings, file, database)
    except OSError as e:
        raise ConfigError(f"{file} cannot be written: {e.strerror}.", hint="Look at its folder and at free space.") from e
    pictures = sum(name.startswith("images/") for name in made["files"])
    size = file.stat().st_size / 1e6
    errors.print(f"{file}: {made['records']} records, {made['jobs']} jobs, {pictures} pictures, {size:.1f} MB.")


def restore(file: Annotated[Path, typer.Argument(help="Archive of `hunyuanocr backup`.")], *, data: DataOption = None,
            force: ForceOption = False) -> None:  # fmt: skip
    """Check an archive and put what is in it into the data folder; stop the server first."""
    from hunyuanocr.store.folder import DataFolder

    settings, database = _place(data)
    if not file.is_file():
        raise ConfigError(f"There is no file {file}.", hint="Give the archive that `hunyuanocr backup` has written.")
    if database.exists() and not force:
        raise ConfigError(f"{database} is there already.", hint="Add --force to overwrite it; make a backup of it first.")
    lock = DataFolder(settings.data)
    lock.acquire()  # no server runs now, and none starts before the end
    try:
        found = _restore(file, lock.folder, database)
    finally:
        lock.release()
    errors.print(f"{lock.folder}: {found['records']} records and {found['jobs']} jobs of {found['made_at']}.")
    errors.print(f"The settings of then, without secrets, are in {lock.folder / _SETTINGS}; they are not used by themselves.")


def _restore(file: Path, folder: Path, database: Path) -> dict[str, Any]:
    from hunyuanocr.cli import backup_archive
    from hunyuanocr.store.workdir import RESTORE, workdir

    if database.exists():
        _not_in_use(database)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with workdir(folder, RESTORE) as place:
            found = backup_archive.read(file, place)
            _move_in(place, folder, database)
    except OSError as e:
        raise ConfigError(f"{folder} cannot be written: {e.strerror}.", hint="Look at its rights and at free space.") from e
    return found


def _place(data: Path | None) -> tuple[Settings, Path]:
    """Settings, and the file of the database. Raises ConfigError, with the line to run, for a PostgreSQL."""
    from hunyuanocr.store.database import Database

    settings = load_settings(**({} if data is None else {"data": data}))
    url = Database(settings.database_url).url
    if url.get_backend_name() == "sqlite":
        return settings, Path(str(url.database))
    plain = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    images = f" && tar -C '{settings.data}' -czf images.tar.gz images" if settings.store.keep_images else ""
    raise ConfigError(
        "The records are in PostgreSQL, which has its own programs for that.",
        hint=f"Run: pg_dump --format=custom --file=shop.dump '{plain}'{images}   "
        f"(back: pg_restore --clean --if-exists --dbname='{plain}' shop.dump)",
    )


def _not_in_use(database: Path) -> None:
    """Raise ConfigError while a server has it open. Leaving WAL mode needs the file for oneself, and folds its log in."""
    try:
        with closing(sqlite3.connect(database, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as e:
        if getattr(e, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ConfigError(f"A server has {database} open.", hint="Stop it, restore, and start it again.") from e
        raise ConfigError(f"{database} cannot be replaced: {e}.", hint="Look at its rights.") from e
    except sqlite3.DatabaseError:
        return  # damaged: that is why one restores


def _move_in(place: Path, folder: Path, database: Path) -> None:
    """Pictures first, the database last and in one step: a cut in between leaves the old one."""
    from hunyuanocr.cli import backup_archive

    for picture in sorted((place / "images").glob("??/*")):
        target = folder / picture.relative_to(place)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        picture.replace(target)
    for name, new in ((backup_archive.SETTINGS, _SETTINGS), (backup_archive.MARK, backup_archive.MARK)):
        if (place / name).is_file():
            (place / name).replace(folder / new)
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if database.parent.absolute() != folder:  # perhaps on another disk
        near = database.with_name(database.name + ".restored")
        shutil.copyfile(place / backup_archive.DATABASE, near)
        near.chmod(0o600)
    else:
        near = place / backup_archive.DATABASE
    for log in ("-wal", "-shm"):
        database.with_name(database.name + log).unlink(missing_ok=True)
    near.replace(database)
    handle = os.open(database.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
