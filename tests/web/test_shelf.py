"""Pictures are held in memory within bounds, and uploads leave the disk."""

import os
import time

import pytest

from hunyuanocr.errors import BadRequest, EmptyInput
from web.shelf import Picture, Sheet, Shelf, sweep, take


def picture(size, age=0.0):
    return Picture(b"x" * size, (), 1, time.monotonic() - age)


def test_a_token_gets_its_own_picture_back():
    shelf = Shelf(1000, 60)
    one, two = picture(10), picture(20)
    first, second = shelf.put(one), shelf.put(two)
    assert shelf.get(first) is one
    assert shelf.get(second) is two
    assert first != second
    assert len(first) >= 20
    assert shelf.get(None) is shelf.get("") is shelf.get("guess") is None


def test_the_oldest_go_when_the_memory_is_spent():
    shelf = Shelf(100, 60)
    tokens = [shelf.put(picture(40)) for _ in range(3)]
    assert [shelf.get(t) is not None for t in tokens] == [False, True, True]
    big = shelf.put(picture(500))
    assert shelf.get(big) is not None, "the newest stays, however large"
    assert len(shelf) == 1


def test_what_is_shown_counts_too():
    shown = Picture(b"x" * 10, (Sheet(b"y" * 90, 1, 1),), 1)
    assert shown.size == 100


def test_old_pictures_are_forgotten():
    shelf = Shelf(1000, 60)
    old, new = shelf.put(picture(1, age=61)), shelf.put(picture(1, age=59))
    assert shelf.get(old) is None
    assert shelf.get(new) is not None
    assert len(shelf) == 1


def test_dropping_forgets_and_forgives():
    shelf = Shelf(1000, 60)
    token = shelf.put(picture(1))
    for _ in range(2):
        shelf.drop(token)
    shelf.drop(None)
    assert len(shelf) == 0


def test_take_reads_and_deletes_the_upload_and_its_folder(tmp_path):
    file = tmp_path / "a1b2" / "receipt.jpg"
    file.parent.mkdir()
    file.write_bytes(b"data")
    assert take(str(file), tmp_path) == b"data"
    assert list(tmp_path.iterdir()) == []


def test_take_leaves_the_upload_folder_itself(tmp_path):
    (tmp_path / "loose").write_bytes(b"data")
    assert take(str(tmp_path / "loose"), tmp_path) == b"data"
    assert tmp_path.is_dir()


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/../secret", "{folder}", "{folder}/link", ""])
def test_take_touches_nothing_outside_its_folder(tmp_path, path):
    folder, secret = tmp_path / "uploads", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("secret")
    (folder / "link").symlink_to(secret)
    with pytest.raises(BadRequest):
        take(path.format(folder=folder), folder)
    assert secret.read_text() == "secret"


def test_a_missing_upload_is_told(tmp_path):
    with pytest.raises(EmptyInput):
        take(str(tmp_path / "gone" / "x"), tmp_path)


def test_sweep_deletes_what_is_old_and_nothing_else(tmp_path):
    for name in ("old", "new"):
        (tmp_path / f"{name}.part").write_bytes(b"x")
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"x")
    for name in ("old", "old.part"):
        os.utime(tmp_path / name, (time.time() - 400, time.time() - 400))
    sweep(tmp_path, 300)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "new.part"]
