"""Processes that are killed midway leave no copy of what was read in any file that has a name."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.schemas.jobs import SERIALIZERS
from hunyuanocr.cli import app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.container import Services
from hunyuanocr.store.image_store import ImageStore
from hunyuanocr.store.workdir import BACKUP, EXPORT, RESTORE, remove_dead, workdir
from tests.support.fake_backend import FakeBackend

ROOT = Path(__file__).parents[2]
MARKER = "QUOKKA77431"

PREPARE = f"""
import asyncio, sys, time
from dataclasses import replace
from pathlib import Path
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.record_builder import build_entry
from hunyuanocr.store.search import RecordQuery
from tests.store.results import NOON, result

def midway():
    print("midway", flush=True)
    time.sleep(60)

data = Path(sys.argv[1])
database = Database(f"sqlite:///{{data / 'hunyuanocr.db'}}")
with database.transaction() as conn:
    for n in range(500):
        words = f"{MARKER} {{n}} " * 20
        made = build_entry(result(), owner="shop", created_at=NOON, source="ocr", instruction=words, device=None)
        records.insert(conn, made, send=False)
"""
XLSX = (
    PREPARE
    + """
from api import exports

async def slowly(lines):
    n = 0
    async for line in lines:
        yield line
        n += 1
        if n == 450:
            midway()

asyncio.run(exports.write_xlsx(slowly(exports.iter_rows(database, RecordQuery(owner="shop"))), data))
"""
)
BACK_UP = (
    PREPARE
    + """
from hunyuanocr.cli import app, backup_archive
database.close()
backup_archive._pack = lambda *_: midway()
app(["backup", sys.argv[2], "--data", str(data)])
"""
)
RESTORED = (
    PREPARE
    + """
from hunyuanocr.cli import app, backup
database.close()
backup._move_in = lambda *_: midway()
try:
    app(["backup", sys.argv[2], "--data", str(data)])
except SystemExit:
    app(["restore", sys.argv[2], "--data", str(data), "--force"])
"""
)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Any, Any]:
    """The data folder and the folder for temporary files."""
    made = tmp_path / "data", tmp_path / "tmp"
    for place in made:
        place.mkdir()
    return made


def killed_midway(code: str, data: Path, tmp: Path, *arguments: str) -> None:
    command = [sys.executable, "-c", code, str(data), *arguments]
    environment = os.environ | {"TMPDIR": str(tmp), "SQLITE_TMPDIR": str(tmp)}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == "midway\n"
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def copies(*folders: Path) -> list[str]:
    """Files with the marker in them, but for the database itself."""
    found = []
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file() and not (file.parent.name == "data" and file.name.startswith("hunyuanocr.db")):
                data = file.read_bytes()
                if MARKER.encode() in data or zipfile.is_zipfile(io.BytesIO(data)):
                    found.append(str(file.relative_to(folder)))
    return found


@pytest.mark.parametrize("code", [BACK_UP, RESTORED, XLSX], ids=["backup", "restore", "export"])
async def test_what_a_killed_command_leaves_is_gone_after_the_next_start(
    places: tuple[Any, Any], tmp_path: Path, code: str
) -> None:
    data, tmp = places
    (tmp_path / "away").mkdir()
    archive = tmp_path / "away" / "shop.tar.gz"
    killed_midway(code, data, tmp, str(archive))
    assert copies(tmp) == []
    settings = Settings(data=data)
    services = Services(settings, Pipeline(FakeBackend(), settings))
    await services.start(SERIALIZERS)
    await services.stop()
    await services.close()
    assert copies(data, tmp) == []
    assert not [p.name for p in data.iterdir() if p.name.startswith((BACKUP, RESTORE, EXPORT))]
    again = CliRunner().invoke(app, ["backup", str(archive), "--data", str(data), "--force"])
    assert again.exit_code == 0, again.output
    assert [p.name for p in archive.parent.iterdir()] == [archive.name]


def test_a_folder_in_use_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    with workdir(tmp_path, BACKUP) as first:
        (first / "copy").write_text(MARKER)
        with workdir(tmp_path, BACKUP) as second:
            remove_dead(tmp_path, BACKUP)
            assert (first / "copy").is_file()
            assert second.is_dir()
            assert first.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_nobody_writes_any_more_are_deleted(tmp_path: Path) -> None:
    pictures = ImageStore(tmp_path)
    kept = pictures.path(pictures.keep(b"whole"))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(10)
    mine, theirs, alive = (kept.with_name(f"{kept.name}.{pid}.part") for pid in (os.getpid(), dead.pid, os.getppid()))
    for part in (mine, theirs, alive):
        part.write_bytes(b"half")
    pictures.remove_unfinished()
    assert [p.exists() for p in (kept, mine, theirs, alive)] == [True, False, False, True]
