"""The archive of `hunyuanocr backup` and `hunyuanocr restore`: a gzipped tar, its list first, every file with its sum.

`manifest.json` (what is in it), `hunyuanocr.db` (the whole database, as it stood at one moment), `images/…` (kept pictures),
`keys-in-use` (the mark of an appliance that wants keys), `settings.toml` (without secrets).
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
from typing import Any

from pydantic import BaseModel, SecretStr

from hunyuanocr import __version__
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError
from hunyuanocr.store.workdir import BACKUP, workdir

DATABASE, MANIFEST, SETTINGS, MARK = "hunyuanocr.db", "manifest.json", "settings.toml", "keys-in-use"
_FORM = 1
_NAMES = re.compile(rf"{re.escape(DATABASE)}|{re.escape(SETTINGS)}|{re.escape(MARK)}|images/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}")
_BUSY_S = 30.0
_MAX_LIST_LENGTH = 256 << 20
_NOTHING = "Nothing has been kept yet, or 'data' is another folder."
_BACKUP = "Make another one with: hunyuanocr backup"


def write(settings: Settings, file: Path, database: Path) -> dict[str, Any]:
    """Back up while the server runs; the list of what is in it. The file is whole or not there, and for its owner alone.

    Raises ConfigError where something cannot be read or written.
    """
    with (
        workdir(file.absolute().parent, BACKUP) as place,
        workdir(_folder_of(settings), BACKUP) as held,
    ):
        copy = place / DATABASE
        _copy(database, copy)  # first: a picture is written before its record
        found = {DATABASE: copy, SETTINGS: _settings(settings, place)} | _hold(settings.data, copy, held)
        listed = {name: _about(path) for name, path in found.items()}
        manifest = {
            "form": _FORM, "version": __version__, "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": _revision(copy), "records": _count(copy, "records"), "jobs": _count(copy, "jobs"), "files": listed,
        }  # fmt: skip
        part = place / "archive"
        _pack(part, manifest, found)
        part.replace(file)
    return manifest


def _folder_of(settings: Settings) -> Path:
    if not settings.data.is_dir():
        raise ConfigError(f"There is no database in {settings.data}.", hint=_NOTHING)
    return settings.data


def _hold(data: Path, copy: Path, held: Path) -> dict[str, Path]:
    """The pictures that the copy names, and the mark, as links: what is deleted meanwhile stays until it is packed."""
    wanted = {f"images/{name[:2]}/{name}": data / "images" / name[:2] / name for name in _pictures(copy)}
    found = {}
    for name, source in (wanted | {MARK: data / MARK}).items():
        link = held / source.name
        try:
            os.link(source, link)
        except FileNotFoundError:
            continue  # deleted since the copy was made; or there is no mark
        except OSError:  # a file system without links
            shutil.copyfile(source, link)
        found[name] = link
    return found


def _pack(part: Path, manifest: dict[str, Any], found: dict[str, Path]) -> None:
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
            _add(archive, MANIFEST, json.dumps(manifest, indent=1).encode())
            for name, path in found.items():
                archive.add(path, name, recursive=False, filter=_plain)
        raw.flush()
        os.fsync(raw.fileno())


def _copy(database: Path, copy: Path) -> None:
    """As it stands at one moment, whatever is written meanwhile (SQLite's VACUUM INTO), without what was deleted."""
    if not database.is_file():
        raise ConfigError(f"There is no database {database}.", hint=_NOTHING)
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=_BUSY_S)) as source:
            source.execute("VACUUM INTO ?", (str(copy),))
    except sqlite3.Error as e:
        raise ConfigError(f"The database {database} cannot be copied: {e}.", hint="hunyuanocr doctor tells more.") from e


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def _revision(database: Path) -> str:
    with _open(database) as conn:
        return str(conn.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _count(database: Path, table: str) -> int:
    with _open(database) as conn:
        there = conn.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        return int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) if there else 0  # noqa: S608 -- our own names


def _pictures(database: Path) -> list[str]:
    with _open(database) as conn:
        query = "SELECT DISTINCT image FROM records WHERE image IS NOT NULL ORDER BY image"
        return [name for (name,) in conn.execute(query) if re.fullmatch(r"[0-9a-f]{64}", name)]


def _about(path: Path) -> dict[str, Any]:
    with path.open("rb") as f:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
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
    """The settings as a file, but for secrets, addresses with passwords, and what is not set."""
    plain: list[str] = []
    groups: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            groups.append(f"\n[{prefix}{name}]\n{toml(value, f'{prefix}{name}.')}")
        elif (written := _value(value)) is not None:
            plain.append(f"{name} = {written}\n")
    return "".join(plain + groups)


def _value(value: Any) -> str | None:
    """JSON's strings, numbers and lists are TOML's as well."""
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
    """Unpack into an empty folder and check everything: sums, names, the database itself. Raises ConfigError."""
    try:
        with gzip.open(file) as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
            manifest = _manifest(archive)
            for member in archive:
                _unpack(archive, member, manifest["files"], folder)
            while raw.read(1 << 20):  # to its end, where gzip keeps its own sum
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{file} is no backup, or is damaged ({type(e).__name__}).", hint=_BACKUP) from e
    if lost := [name for name in manifest["files"] if not (folder / name).is_file()]:
        raise ConfigError(f"{file} is damaged: {lost[0]} is missing.", hint=_BACKUP)
    _check(folder / DATABASE, file)
    return manifest


def _manifest(archive: tarfile.TarFile) -> dict[str, Any]:
    first = archive.next()
    stream = None if first is None or first.name != MANIFEST or first.size > _MAX_LIST_LENGTH else archive.extractfile(first)
    if stream is None:
        raise ValueError("no list")
    found: dict[str, Any] = json.loads(stream.read())
    if found["form"] != _FORM or DATABASE not in found["files"]:
        raise ValueError("another form")
    return found


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, listed: dict[str, Any], folder: Path) -> None:
    if member.name == MANIFEST:
        return
    stream = archive.extractfile(member) if member.isreg() and _NAMES.fullmatch(member.name) else None
    wanted = listed.get(member.name)
    if stream is None or wanted is None or member.size != wanted["bytes"]:
        raise ValueError("a file that is not in the list")
    target = folder / member.name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    target.chmod(0o600)
    if _about(target) != wanted:
        raise ValueError("a sum that does not fit")


def _check(database: Path, file: Path) -> None:
    from hunyuanocr.store.migrations import known

    try:
        with _open(database) as conn:
            whole = conn.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
        revision = _revision(database)
    except (sqlite3.Error, TypeError) as e:
        raise ConfigError(f"The database in {file} is damaged.", hint=_BACKUP) from e
    if not whole:
        raise ConfigError(f"The database in {file} is damaged.", hint=_BACKUP)
    if not known(revision):
        raise ConfigError(f"{file} is from a newer version of this program ({revision}).", hint="Update the program first.")
