"""Degradations: each changes the picture, and boxes go where the paper goes."""

import numpy as np
import pytest

from synthesis import augment
from synthesis.augment import ALTERNATIVES, ORDER, choose

BOXES = np.array([[[60, 40], [200, 40], [200, 70], [60, 70]], [[150, 420], [330, 420], [330, 452], [150, 452]]], float)
MOVING = {"curl", "background", "rotation", "perspective", "far"}


def sheet() -> np.ndarray:
    """Cream paper with a black bar in each box and nothing else."""
    image = np.full((520, 400, 3), (250, 248, 240), np.uint8)
    for (left, top), _, (right, bottom), _ in BOXES.astype(int):
        image[top:bottom, left:right] = (20, 20, 20)
    return image


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_changes_pixels_and_carries_boxes(name: str, seed: int) -> None:
    before = sheet()
    image, points = ORDER[name](before, BOXES.reshape(-1, 2), np.random.default_rng(seed))
    assert image.dtype == np.uint8
    assert image.shape != before.shape or (image != before).any()
    assert (before == sheet()).all(), "the input picture was changed in place"
    quads = points.reshape(-1, 4, 2)
    height, width = image.shape[:2]
    assert (quads >= 0).all()
    assert (quads[..., 0] <= width).all()
    assert (quads[..., 1] <= height).all()
    assert (points.reshape(BOXES.shape) != BOXES).any() == (name in MOVING)
    for quad in quads:  # the bar is still in its box: darker there than on the paper just above it
        middle, top = quad.mean(axis=0), quad[:2].mean(axis=0)
        above = top + (top - middle) * 0.9
        assert patch(image, middle) < patch(image, above) - 10, name


def patch(image: np.ndarray, at: np.ndarray) -> float:
    x, y = (round(v) for v in at)
    return float(image[max(0, y - 2) : y + 3, max(0, x - 4) : x + 5].mean())


@pytest.mark.parametrize("name", ORDER)
def test_same_generator_same_picture(name: str) -> None:
    first, second = (ORDER[name](sheet(), BOXES.reshape(-1, 2), np.random.default_rng(4))[0] for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("name", ORDER)
def test_a_picture_without_text_is_no_error(name: str) -> None:
    image, points = ORDER[name](np.full((300, 200, 3), 255, np.uint8), np.zeros((0, 2)), np.random.default_rng(1))
    assert image.ndim == 3
    assert points.shape == (0, 2)


def test_none_to_three_and_never_two_that_hide_each_other() -> None:
    rng = np.random.default_rng(0)
    chosen = [choose(rng) for _ in range(400)]
    assert {len(names) for names in chosen} == {0, 1, 2, 3}
    assert {name for names in chosen for name in names} == set(ORDER)
    for names in chosen:
        assert list(names) == [name for name in ORDER if name in names]
        assert not any(len(group & set(names)) > 1 for group in ALTERNATIVES)


def test_harsh_compression_leaves_marks_but_no_bend() -> None:
    image, points = augment.jpeg(sheet(), BOXES.reshape(-1, 2), np.random.default_rng(2))
    assert 0 < np.abs(image.astype(int) - sheet()).mean() < 10
    assert (points.reshape(BOXES.shape) == BOXES).all()
