"""Noise and light are not a change; one digit is."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest
from numpy import ndarray

from hunyuanocr.config import ImageSettings
from hunyuanocr.images import load_gray_thumbnail
from hunyuanocr.services.camera.change_detection import LONG_SIDE, SceneFingerprint, any_changed, diff, fingerprint
from tests.services.camera.pictures import receipt, shot

SETTINGS = ImageSettings()


def scene(data: bytes) -> SceneFingerprint:
    seen = load_gray_thumbnail(data, SETTINGS, LONG_SIDE)
    assert seen is not None
    return fingerprint(*seen)


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return receipt()


@pytest.fixture(scope="module")
def before(base: ndarray) -> SceneFingerprint:
    return scene(shot(base, 1))


@pytest.mark.parametrize(
    "light",
    [
        {},
        {"noise": 6.0},
        {"gain": 0.9, "offset": 5},
        {"gain": 1.08},
        {"gain": 0.75},
        {"offset": 12},
    ],
)
def test_noise_and_exposure_are_no_change(base: ndarray, before: SceneFingerprint, light: dict[str, Any]) -> None:
    for seed in (2, 3, 4):
        assert not diff(before, scene(shot(base, seed, **light)))


def test_a_lamp_from_one_side_is_no_change(base: ndarray, before: SceneFingerprint) -> None:
    assert not diff(before, scene(shot(base + np.linspace(0, 25, base.shape[1], dtype=np.float32), 2)))


@pytest.mark.parametrize(("size", "letters"), [((640, 480), 14), ((960, 720), 18), ((1920, 1080), 16)])
@pytest.mark.parametrize("noise", [0.0, 4.0, 9.0])
def test_no_digit_changes_unseen(size: tuple[int, int], letters: int, noise: float) -> None:
    shots = [scene(shot(receipt(f"3{digit}.80", size, letters), digit, noise)) for digit in range(10)]
    missed = [pair for pair in itertools.combinations(range(10), 2) if not diff(shots[pair[0]], shots[pair[1]])]
    assert missed == []


def test_pale_print_in_much_noise_is_rather_read_again() -> None:
    """Where a digit might hide in the noise, the answer is that something has changed."""
    pale = [scene(shot(receipt(total, ink=150), seed, 9.0)) for seed, total in enumerate(("36.80", "38.80"))]
    assert diff(*pale)


def test_a_hash_of_64_bits_would_not_see_the_digit() -> None:
    """Why there is more here than a perceptual hash."""

    def dhash(data: bytes) -> np.ndarray:
        grey = load_gray_thumbnail(data, SETTINGS, LONG_SIDE)
        assert grey is not None
        small = cv2.resize(grey[0], (9, 8), interpolation=cv2.INTER_AREA).astype(int)
        return small[:, 1:] > small[:, :-1]

    six, eight = (shot(receipt(total), 1, 2.0) for total in ("36.80", "38.80"))
    assert (dhash(six) != dhash(eight)).sum() <= 2
    assert diff(scene(six), scene(eight))


def test_another_sheet_another_size_and_a_hand_are_changes(base: ndarray, before: SceneFingerprint) -> None:
    blank = base.copy()
    blank[200:400, 250:600] = 225  # something white lies on it
    assert diff(before, scene(shot(blank, 2)))
    dark = base.copy()
    dark[300:, :400] = cv2.GaussianBlur(dark[300:, :400] * 0.3, (0, 0), 9)  # a hand: dark, without edges
    assert diff(before, scene(shot(dark, 2)))
    assert diff(before, scene(shot(receipt(size=(640, 480)), 2)))
    flat = [scene(shot(np.full((480, 640), level, np.float32), 1)) for level in (220, 60)]
    assert diff(*flat)


def test_a_change_is_where_it_is(base: ndarray, before: SceneFingerprint) -> None:
    found = diff(before, scene(shot(receipt("38.80"), 2)))
    rows, columns = np.nonzero(np.abs(receipt("38.80") - base) > 20)
    x, y = float(columns.mean()), float(rows.mean())

    def box(x: float, y: float) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]:
        return ((x - 40, y - 12), (x + 40, y - 12), (x + 40, y + 12), (x - 40, y + 12))

    assert found.touches(box(x, y))
    assert not found.touches(box(x, y - 200))
    assert any_changed(found, [box(x, y - 200), box(x, y)])
    assert not any_changed(found, [box(x, y - 200)])
    assert any_changed(found, []), "without a box, any change counts"
    assert any_changed(None, [box(x, y - 200)])
