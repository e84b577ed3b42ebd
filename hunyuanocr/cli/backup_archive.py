"""The archive of `hunyuanocr backup` and `hunyuanocr restore`: a gzipped tar; manifest first; SHA-256 of every file.

`manifest.json` (list of files), `hunyuanocr.db` (consistent copy of the database), `images/…` (stored images),
`keys-in-use` (marker file: authentication is required), `settings.toml` (without secrets).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from hunyuanocr import __version__
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError
from hunyuanocr.store.database_file import sqlite_uri
from hunyuanocr.store.workdir import BACKUP, workdir

DATABASE, MANIFEST, SETTINGS, MARKER = "hunyuanocr.db", "manifest.json", "settings.toml", "keys-in-use"
_FORMAT = 1
_NAMES = re.compile(rf"{re.escape(DATABASE)}|{re.escape(SETTINGS)}|{re.escape(MARKER)}|images/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}")
_BUSY_S = 30.0
_MAX_MANIFEST_BYTES = 256 << 20
# What a database consists of. A trigger or a view in an archive would run in the server.
_SCHEMA = """SELECT type, name,
    coalesce((SELECT group_concat(c.name || ' ' || c.hidden) FROM pragma_table_xinfo(m.name) AS c WHERE m.type = 'table'), '')
    FROM sqlite_master AS m WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"""
_NO_DATA = "No data is stored yet, or the setting 'data' names another folder."
_NEW_BACKUP = "Create a new backup with: hunyuanocr backup"


class _File(BaseModel):
    bytes: int
    sha256: str


class _Manifest(BaseModel):
    form: Literal[1]
    version: str
    made_at: str
    revision: str
    records: int
    jobs: int
    files: dict[str, _File]


def write(settings: Settings, file: Path, database: Path) -> dict[str, Any]:
    """Write a backup while the server runs; return its manifest. The file is complete or absent, readable by its owner only.

    Raises ConfigError if something cannot be read or written.
    """
    with (
        workdir(file.absolute().parent, BACKUP) as work,
        workdir(_data_folder(settings), BACKUP) as links,
    ):
        copy = work / DATABASE
        _copy(database, copy)  # first: an image is written before its record
        files = {DATABASE: copy, SETTINGS: _settings(settings, work)} | _link_files(settings.data, copy, links)
        listed = {name: _size_and_hash(path) for name, path in files.items()}
        manifest = {
            "form": _FORMAT,
            "version": __version__,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": _revision(copy),
            "records": _count(copy, "records"),
            "jobs": _count(copy, "jobs"),
            "files": listed,
        }
        part = work / "archive"
        _pack(part, manifest, files)
        part.replace(file)
    return manifest


def _data_folder(settings: Settings) -> Path:
    if not settings.data.is_dir():
        raise ConfigError(f"No database found in {settings.data}.", hint=_NO_DATA)
    return settings.data


def _link_files(data: Path, copy: Path, links: Path) -> dict[str, Path]:
    """Hard-link the images of the copied records and the marker file, so that a deletion in the meantime does not matter."""
    sources = {f"images/{name[:2]}/{name}": data / "images" / name[:2] / name for name in _image_names(copy)}
    linked = {}
    for name, source in (sources | {MARKER: data / MARKER}).items():
        link = links / source.name
        try:
            os.link(source, link)
        except FileNotFoundError:
            continue  # deleted since the database was copied, or no marker file
        except OSError:  # a file system without hard links
            shutil.copyfile(source, link)
        linked[name] = link
    return linked


def _pack(part: Path, manifest: dict[str, Any], files: dict[str, Path]) -> None:
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
            for name, path in files.items():
                archive.add(path, name, recursive=False, filter=_anonymous)
        raw.flush()
        os.fsync(raw.fileno())


def _copy(database: Path, copy: Path) -> None:
    """Copy a consistent state during concurrent writes, without deleted content (SQLite's VACUUM INTO)."""
    if not database.is_file():
        raise ConfigError(f"Database {database} not found.", hint=_NO_DATA)
    try:
        with closing(sqlite3.connect(sqlite_uri(database, "mode=rw"), uri=True, timeout=_BUSY_S)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error as e:
        raise ConfigError(f"Cannot copy the database {database}: {e}.", hint="Run `hunyuanocr doctor` for details.") from e


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(sqlite_uri(database, "mode=ro&immutable=1"), uri=True)) as connection:
        yield connection


def _revision(database: Path) -> str:
    with _open(database) as conn:
        return str(conn.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _count(database: Path, table: str) -> int:
    with _open(database) as conn:
        exists = conn.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) if exists else 0  # noqa: S608 -- constant names


def _image_names(database: Path) -> list[str]:
    with _open(database) as conn:
        query = "SELECT DISTINCT image FROM records WHERE image IS NOT NULL ORDER BY image"
        return [name for (name,) in conn.execute(query) if re.fullmatch(r"[0-9a-f]{64}", name)]


def _size_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as f:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


def _settings(settings: Settings, folder: Path) -> Path:
    file = folder / SETTINGS
    file.write_text(toml(settings), encoding="utf-8")
    return file


def toml(settings: BaseModel, prefix: str = "") -> str:
    """Return the settings as TOML, without secrets, URLs that contain passwords, and unset values."""
    values: list[str] = []
    groups: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            groups.append(f"\n[{prefix}{name}]\n{toml(value, f'{prefix}{name}.')}")
        elif (text := _value(value)) is not None:
            values.append(f"{name} = {text}\n")
    return "".join(values + groups)


def _value(value: Any) -> str | None:
    """Return a value as TOML, which shares strings, numbers and lists with JSON; None for what is left out."""
    if value is None or isinstance(value, SecretStr):
        return None
    try:
        return json.dumps(value, ensure_ascii=True, default=_text)
    except TypeError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, (Path, IPv4Network, IPv6Network)):
        return str(value)
    raise TypeError


def read(file: Path, folder: Path) -> dict[str, Any]:
    """Unpack into an empty folder and verify checksums, names and the database. Raises ConfigError."""
    try:
        with gzip.open(file) as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
            manifest = _manifest(archive)
            for member in archive:
                _unpack(archive, member, manifest["files"], folder)
            while raw.read(1 << 20):  # to the end, where gzip stores its own checksum
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{file} is not a backup, or is damaged ({type(e).__name__}).", hint=_NEW_BACKUP) from e
    if missing := [name for name in manifest["files"] if not (folder / name).is_file()]:
        raise ConfigError(f"{file} is damaged: {missing[0]} is missing.", hint=_NEW_BACKUP)
    _check(folder / DATABASE, file)
    return manifest


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    stream = None if first is None or first.name != MANIFEST or first.size > _MAX_MANIFEST_BYTES else archive.extractfile(first)
    if stream is None:
        raise ValueError("no manifest")
    manifest = _Manifest.model_validate_json(stream.read())
    if DATABASE not in manifest.files:
        raise ValueError("no database")
    return manifest.model_dump()


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, listed: dict[str, Any], folder: Path) -> None:
    if member.name == MANIFEST:
        return
    stream = archive.extractfile(member) if member.isreg() and _NAMES.fullmatch(member.name) else None
    expected = listed.get(member.name)
    if stream is None or expected is None or member.size != expected["bytes"]:
        raise ValueError("unexpected file")
    target = folder / member.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    target.chmod(0o600)
    if _size_and_hash(target) != expected:
        raise ValueError("wrong checksum")


def _check(database: Path, file: Path) -> None:
    from hunyuanocr.store.migrations import known

    try:
        with _open(database) as conn:
            intact = conn.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            found = set(conn.execute(_SCHEMA))
        revision = _revision(database)
    except (sqlite3.Error, TypeError) as e:
        raise ConfigError(f"The database in {file} is damaged.", hint=_NEW_BACKUP) from e
    if not intact:
        raise ConfigError(f"The database in {file} is damaged.", hint=_NEW_BACKUP)
    if not known(revision):
        raise ConfigError(f"{file} was written by a newer version ({revision}).", hint="Update the program first.")
    if unexpected := sorted(found - _schema(revision)):
        kind, name, _ = unexpected[0]
        raise ConfigError(f"The database in {file} was changed by another program: {kind} '{name}'.", hint=_NEW_BACKUP)


def _schema(revision: str) -> set[tuple[str, str, str]]:
    """Return the tables with their columns, and the indexes, of a new database of this revision; see `_SCHEMA`."""
    from sqlalchemy import create_engine

    from hunyuanocr.store.migrations import upgrade

    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        upgrade(conn, revision)
        rows = conn.exec_driver_sql(_SCHEMA).all()
    engine.dispose()
    return {(row[0], row[1], row[2]) for row in rows}
