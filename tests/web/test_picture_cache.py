"""Pictures and uploads are held in memory within bounds, in all and of each person."""

import time

import pytest

from hunyuanocr.errors import EmptyInput, UploadBudgetExceeded
from web.upload_store import OpenedUpload, PendingUploads, PictureCache, PreviewPage


def picture(size: int, age: float = 0.0) -> OpenedUpload:
    return OpenedUpload(b"x" * size, (), 1, time.monotonic() - age)


def test_a_token_gets_its_own_picture_back() -> None:
    cache = PictureCache(1000, 60)
    one, two = picture(10), picture(20)
    first, second = cache.put(one, "me"), cache.put(two, "me")
    assert cache.get(first) is one
    assert cache.get(second) is two
    assert first != second
    assert len(first) >= 20
    assert cache.get(None) is cache.get("") is cache.get("guess") is None


def test_the_oldest_go_when_the_memory_is_spent() -> None:
    cache = PictureCache(100, 60)
    tokens = [cache.put(picture(40), "me") for _ in range(3)]
    assert [cache.get(t) is not None for t in tokens] == [False, True, True]
    big = cache.put(picture(500), "me")
    assert cache.get(big) is not None, "the newest stays, however large"
    assert len(cache) == 1


def test_what_is_shown_counts_too() -> None:
    shown = OpenedUpload(b"x" * 10, (PreviewPage(b"y" * 90, 1, 1),), 1)
    assert shown.size == 100


def test_old_pictures_are_forgotten() -> None:
    cache = PictureCache(1000, 60)
    old, new = cache.put(picture(1, age=61), "me"), cache.put(picture(1, age=5), "me")
    assert cache.get(old) is None
    assert cache.get(new) is not None
    assert len(cache) == 1


def test_dropping_forgets_and_forgives() -> None:
    cache = PictureCache(1000, 60)
    token = cache.put(picture(1), "me")
    for _ in range(2):
        cache.drop(token)
    cache.drop(None)
    assert len(cache) == 0


def test_many_pictures_of_one_push_out_nobody_elses() -> None:
    cache = PictureCache(100, 60)
    mine = cache.put(picture(20), "me")
    greedy = [cache.put(picture(30), "greedy") for _ in range(5)]
    assert cache.get(mine) is not None
    assert [cache.get(t) is not None for t in greedy] == [False, False, False, True, True]
    large = cache.put(picture(90), "third")
    assert cache.get(large) is not None, "who comes last has his picture"
    assert len(cache) == 1


def test_an_upload_is_taken_once_and_by_its_sender_alone() -> None:
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


def test_half_of_the_tray_is_for_one_and_others_have_their_place() -> None:
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


def test_uploads_that_nobody_shows_are_forgotten_and_their_place_is_free() -> None:
    tray = PendingUploads(20_000, 0)
    for _ in range(5):
        tray.put(b"x" * 8000, "me")
        tray.expire()
        time.sleep(0.001)
    assert len(tray) <= 1


def test_the_smallest_uploads_count_too() -> None:
    tray = PendingUploads(20_000, 60)
    for _ in range(9):
        tray.put(b"x", "me")
    with pytest.raises(UploadBudgetExceeded):
        tray.put(b"x", "me")
