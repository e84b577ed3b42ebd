"""Pictures and uploads are held in memory within bounds, in all and of each person."""

import time

import pytest

from hunyuanocr.errors import EmptyInput, UploadBudgetExceeded
from web.upload_store import OpenedUpload, PendingUploads, PictureCache, PreviewPage


def picture(size, age=0.0):
    return OpenedUpload(b"x" * size, (), 1, time.monotonic() - age)


def test_a_token_gets_its_own_picture_back():
    shelf = PictureCache(1000, 60)
    one, two = picture(10), picture(20)
    first, second = shelf.put(one, "me"), shelf.put(two, "me")
    assert shelf.get(first) is one
    assert shelf.get(second) is two
    assert first != second
    assert len(first) >= 20
    assert shelf.get(None) is shelf.get("") is shelf.get("guess") is None


def test_the_oldest_go_when_the_memory_is_spent():
    shelf = PictureCache(100, 60)
    tokens = [shelf.put(picture(40), "me") for _ in range(3)]
    assert [shelf.get(t) is not None for t in tokens] == [False, True, True]
    big = shelf.put(picture(500), "me")
    assert shelf.get(big) is not None, "the newest stays, however large"
    assert len(shelf) == 1


def test_what_is_shown_counts_too():
    shown = OpenedUpload(b"x" * 10, (PreviewPage(b"y" * 90, 1, 1),), 1)
    assert shown.size == 100


def test_old_pictures_are_forgotten():
    shelf = PictureCache(1000, 60)
    old, new = shelf.put(picture(1, age=61), "me"), shelf.put(picture(1, age=5), "me")
    assert shelf.get(old) is None
    assert shelf.get(new) is not None
    assert len(shelf) == 1


def test_dropping_forgets_and_forgives():
    shelf = PictureCache(1000, 60)
    token = shelf.put(picture(1), "me")
    for _ in range(2):
        shelf.drop(token)
    shelf.drop(None)
    assert len(shelf) == 0


def test_many_pictures_of_one_push_out_nobody_elses():
    shelf = PictureCache(100, 60)
    mine = shelf.put(picture(20), "me")
    greedy = [shelf.put(picture(30), "greedy") for _ in range(5)]
    assert shelf.get(mine) is not None
    assert [shelf.get(t) is not None for t in greedy] == [False, False, False, True, True]
    large = shelf.put(picture(90), "third")
    assert shelf.get(large) is not None, "who comes last has his picture"
    assert len(shelf) == 1


def test_an_upload_is_taken_once_and_by_its_sender_alone():
    tray = PendingUploads(10_000, 60)
    token = tray.put(b"data", "me")
    for who in ("other", ""):
        with pytest.raises(EmptyInput):
            tray.take(token, who)
    assert tray.take(token, "me") == b"data"
    for gone in (token, "", "guess"):
        with pytest.raises(EmptyInput):
            tray.take(gone, "me")
    assert len(tray) == 0


def test_half_of_the_tray_is_for_one_and_others_have_their_place():
    tray = PendingUploads(20_000, 60)
    first = tray.put(b"x" * 8000, "greedy")
    for size in (8000, 1000):
        with pytest.raises(UploadBudgetExceeded):
            tray.put(b"x" * size, "greedy")
    tray.put(b"x" * 8000, "me")
    with pytest.raises(UploadBudgetExceeded):
        tray.put(b"x" * 8000, "third")
    tray.take(first, "greedy")
    tray.put(b"x" * 8000, "third")


def test_uploads_that_nobody_shows_are_forgotten_and_their_place_is_free():
    tray = PendingUploads(20_000, 0)
    for _ in range(5):
        tray.put(b"x" * 8000, "me")
        tray.expire()
        time.sleep(0.001)
    assert len(tray) <= 1


def test_the_smallest_uploads_count_too():
    tray = PendingUploads(20_000, 60)
    for _ in range(9):
        tray.put(b"x", "me")
    with pytest.raises(UploadBudgetExceeded):
        tray.put(b"x", "me")
