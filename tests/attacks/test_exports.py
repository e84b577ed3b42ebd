"""Processes that are killed midway leave no copy of what was read in any file that has a name."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import openpyxl
import pytest
from openpyxl.utils.escape import unescape
from typer.testing import CliRunner

from api.jobs import WIRE
from api.xlsx import MAX_LETTERS, Workbook
from hunyuanocr.cli import app
from hunyuanocr.config import Settings
from hunyuanocr.pipeline import Pipeline
from hunyuanocr.services.together import Services
from hunyuanocr.store.pictures import Pictures
from hunyuanocr.store.workdir import BACKUP, RESTORE, remove_dead, workdir
from tests.readers import TestReader

ROOT = Path(__file__).parents[2]
MARKER = "QUOKKA77431"

PREPARE = f"""
import asyncio, sys, time
from dataclasses import replace
from pathlib import Path
from hunyuanocr.store import records
from hunyuanocr.store.database import Database
from hunyuanocr.store.entries import entry
from hunyuanocr.store.matching import Search
from tests.store.results import NOON, result

def midway():
    print("midway", flush=True)
    time.sleep(60)

data = Path(sys.argv[1])
database = Database(f"sqlite:///{{data / 'hunyuanocr.db'}}")
with database.begin() as session:
    for n in range(500):
        made = entry(result(), owner="shop", created_at=NOON, source="ocr", instruction=f"{MARKER} {{n}} " * 20, device=None)
        records.insert(session, made, send=False)
"""
EXPORT = PREPARE + """
from api import exports

async def slowly(lines):
    n = 0
    async for line in lines:
        yield line
        n += 1
        if n == 450:
            midway()

asyncio.run(exports.xlsx_file(slowly(exports.rows(database, Search(owner="shop")))))
"""
EXPORT_PACKED = PREPARE + """
import zipfile
from api import exports
write = zipfile.ZipFile.writestr

def last(archive, name, *rest, **more):
    write(archive, name, *rest, **more)
    midway()

zipfile.ZipFile.writestr = last
asyncio.run(exports.xlsx_file(exports.rows(database, Search(owner="shop"))))
"""
BACK_UP = PREPARE + """
from hunyuanocr.cli import app, archive
database.close()
archive._pack = lambda *_: midway()
app(["backup", sys.argv[2], "--data", str(data)])
"""
RESTORED = PREPARE + """
from hunyuanocr.cli import app, backup
database.close()
backup._move_in = lambda *_: midway()
try:
    app(["backup", sys.argv[2], "--data", str(data)])
except SystemExit:
    app(["restore", sys.argv[2], "--data", str(data), "--force"])
"""


@pytest.fixture
def places(tmp_path):
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


@pytest.mark.parametrize("code", [EXPORT, EXPORT_PACKED], ids=["rows", "packing"])
def test_an_export_that_is_killed_leaves_nothing(places, code):
    """Its rows lay in plain text in the folder for temporary files, for ever."""
    killed_midway(code, *places)
    assert copies(*places) == []
    assert list(places[1].iterdir()) == []


@pytest.mark.parametrize("code", [BACK_UP, RESTORED], ids=["backup", "restore"])
async def test_what_a_killed_command_leaves_is_gone_after_the_next_start(places, tmp_path, code):
    data, tmp = places
    (tmp_path / "away").mkdir()
    archive = tmp_path / "away" / "shop.tar.gz"
    killed_midway(code, data, tmp, str(archive))
    assert copies(tmp) == []
    settings = Settings(data=data)
    services = Services(settings, Pipeline(TestReader(), settings))
    await services.start(WIRE)
    await services.stop()
    await services.close()
    assert copies(data, tmp) == []
    assert not [p.name for p in data.iterdir() if p.name.startswith((BACKUP, RESTORE))]
    again = CliRunner().invoke(app, ["backup", str(archive), "--data", str(data), "--force"])
    assert again.exit_code == 0, again.output
    assert [p.name for p in archive.parent.iterdir()] == [archive.name]


def test_a_folder_in_use_is_not_taken_for_a_leftover(tmp_path):
    with workdir(tmp_path, BACKUP) as first:
        (first / "copy").write_text(MARKER)
        with workdir(tmp_path, BACKUP) as second:
            remove_dead(tmp_path, BACKUP)
            assert (first / "copy").is_file()
            assert second.is_dir()
            assert first.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_nobody_writes_any_more_are_deleted(tmp_path):
    pictures = Pictures(tmp_path)
    kept = pictures.path(pictures.keep(b"whole"))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(10)
    mine, theirs, alive = (kept.with_name(f"{kept.name}.{pid}.part") for pid in (os.getpid(), dead.pid, os.getppid()))
    for part in (mine, theirs, alive):
        part.write_bytes(b"half")
    pictures.remove_unfinished()
    assert [p.exists() for p in (kept, mine, theirs, alive)] == [True, False, False, True]


def test_temporary_files_of_the_product_have_no_names():
    """What a new export or upload uses: `TemporaryFile`, never one with a name."""
    for file in [*(ROOT / "api").rglob("*.py"), *(ROOT / "web").rglob("*.py"), *(ROOT / "hunyuanocr" / "services").rglob("*.py")]:
        named = re.findall(r"NamedTemporaryFile|mkstemp|mkdtemp|TemporaryDirectory|SpooledTemporaryFile", file.read_text())
        assert not named, file


def read_back(rows: list[list[str]], **limits) -> list[list[list[str | None]]]:
    with tempfile.TemporaryFile() as file:
        book = Workbook(file, **limits)
        for row in rows:
            book.rows([row])
        book.close()
        file.seek(0)
        sheets = openpyxl.load_workbook(file).worksheets
        return [[[cell and unescape(cell) for cell in row] for row in sheet.iter_rows(values_only=True)] for sheet in sheets]


def test_a_workbook_holds_every_text(tmp_path):
    """The counter-case: what goes in comes out, whatever XML would make of it."""
    texts = ["合计 ¥36.80", "<a href='x'>&amp;</a>", "=1+1", "  two  spaces ", "a\nb\tc", "_x0041_", "\U0001f9fe"]
    texts.append("x" * MAX_LETTERS)
    head = [f"column {n}" for n in range(800)]
    (sheet,) = read_back([head, [*texts, *[""] * 791, "last"]])
    assert sheet[0] == head
    assert (sheet[1][:8], sheet[1][799]) == (texts, "last")
    (odd,) = read_back([["\x00\x1b\r", "\ufffe"]])
    assert odd == [["\x00\x1b\r", "\ufffe"]]
    first, second = read_back([["head"], ["1"], ["2"], ["3"]], max_rows=3)
    assert (first, second) == ([["head"], ["1"], ["2"]], [["head"], ["3"]])
