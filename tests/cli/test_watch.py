"""`hunyuanocr watch` as a person starts it, with the real CPU backend."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hunyuanocr.loadtest.receipts import draw_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scans"
    made.mkdir()
    (made / "a.png").write_bytes(draw_text(["Total: $36.80"], font_size=44, width=640, margin=40))
    (made / "b.png").write_text("no picture")
    return made


def start(*arguments: Any, **environment: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from hunyuanocr.cli import main; main()", "watch", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def test_what_is_there_is_read_and_filed(folder: Path, tmp_path: Path) -> None:
    process = start(folder, "--once", "--csv", "-i", "total", "--backend", "ppocr", HUNYUANOCR_DATA=str(tmp_path / "data"))
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 1, said  # one of the two is no picture
    assert json.loads((folder / "done" / "a.png.json").read_text())["fields"] == {"total_amount": "$36.80"}
    assert (folder / "done" / "a.png.csv").read_text(encoding="utf-8-sig").splitlines() == [
        '"file","total_amount"',
        '"a.png","$36.80"',
    ]
    assert json.loads((folder / "failed" / "b.png.json").read_text())["code"] == "unsupported_media_type"
    assert "a.png: done" in said
    assert "b.png: failed (unsupported_media_type)" in said
    assert (tmp_path / "data" / "hunyuanocr.db").exists()


def test_it_ends_when_told_to(folder: Path) -> None:
    process = start(folder, "--backend", "ppocr", "--interval", "0.1")
    end = time.monotonic() + 240
    while not (folder / "done" / "a.png").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_a_file_is_no_folder(folder: Path) -> None:
    process = start(folder / "a.png", "--backend", "ppocr")
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 2
    assert "is not a folder" in said
    assert "Traceback" not in said
