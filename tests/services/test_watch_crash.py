"""The program that watches a folder is killed at any instant and started again: every file is answered once, none is lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.support.fake_backend import picture

ROOT = Path(__file__).parents[2]


def start(folder: Path, *deaths: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.support.watch_program", str(folder), *deaths]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "watching\n"
    return process


def end(process: subprocess.Popen, seconds: float | None = None) -> int:
    """Its exit status; killed after `seconds`, if it has not ended by then."""
    try:
        return process.wait(200 if seconds is None else seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(60)
    finally:
        process.stdout.close()


def answered(folder: Path, count: int) -> None:
    done = folder / "done"
    assert sorted(p.name for p in done.glob("*.png")) == sorted(f"{n}.png" for n in range(count))
    assert len(list(done.glob("*.csv"))) == len(list(done.glob("*.json"))) == count
    for n in range(count):
        assert (done / f"{n}.png").read_bytes() == picture(n)
        assert json.loads((done / f"{n}.png.json").read_text())["text"] == f"#{n:02x}2030"
    assert not list(folder.rglob(".*.part"))


def test_killed_at_any_instant_every_file_is_answered_once(tmp_path: Path) -> None:
    count, chance = 220, random.Random(7)
    for n in range(count):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    killed = 0
    for _ in range(5):  # no picture is to blame: on a slow machine the same one may be under way at three of the deaths
        killed += end(start(tmp_path, "1000"), chance.uniform(0.03, 0.4)) != 0
    assert killed, "the test must have killed it at least once"
    assert end(start(tmp_path, "1000")) == 0
    answered(tmp_path, count)
    assert not list(tmp_path.glob("*.png"))


def test_a_picture_that_kills_the_process_is_given_up_and_takes_no_other_with_it(tmp_path: Path) -> None:
    count = 20
    for n in range(count):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    (tmp_path / "deadly.png").write_bytes(picture(255, 0, 0))
    end_by = time.monotonic() + 200
    deaths = 0
    while end(start(tmp_path)) != 0:
        deaths += 1
        assert time.monotonic() < end_by
    assert deaths == 3
    answered(tmp_path, count)
    assert json.loads((tmp_path / "failed" / "deadly.png.json").read_text())["code"] == "reader_crashed"
    assert [p.name for p in (tmp_path / "failed").glob("*.png")] == ["deadly.png"]
