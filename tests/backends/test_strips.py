"""Very long and very wide pages: ranges of the strips, lines that two strips share, and a receipt of 1 : 17 read at full size."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hunyuanocr.backends.ppocr.ocr import PageReader
from hunyuanocr.backends.ppocr.strips import merge_strips, strips
from hunyuanocr.config import PpocrSettings
from tests.backends.contract import text_page


def rectangle(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def quads(*boxes: list[list[float]]) -> np.typing.NDArray[np.float32]:
    return np.array(boxes, np.float32)


@pytest.mark.parametrize("size", [(900, 1400), (700, 2048), (2048, 700), (500, 1990), (4200, 130), (30, 30), (1, 1)])
def test_ordinary_pages_are_not_divided(size: tuple[int, int]) -> None:
    assert strips(*size, 2048, 2048 * 2048) == []


@pytest.mark.parametrize(("columns", "rows", "long_side", "pixels"), [(497, 8444, 2048, 2048**2), (8444, 497, 1280, 720_000)])
def test_strips_cover_the_page_and_overlap(columns: int, rows: int, long_side: int, pixels: int) -> None:
    found = strips(columns, rows, long_side, pixels)
    assert found[0][0] == 0
    assert found[-1][1] == 8444
    assert all(end - start <= long_side and (end - start) * 497 <= pixels for start, end in found)
    assert all(end - start >= 100 for (_, end), (start, _) in pairwise(found))


def test_a_line_that_is_cut_or_found_twice_is_one() -> None:
    cut, whole = rectangle(10, 500, 200, 518), rectangle(10, 500, 200, 530)
    found = [quads(rectangle(10, 100, 200, 130), cut), quads(whole, rectangle(10, 540, 200, 570))]
    merged = merge_strips(found, [(0, 520), (460, 980)], 1)
    assert sorted((round(q[:, 1].min()), round(q[:, 1].max())) for q in merged) == [(100, 130), (500, 530), (540, 570)]


def test_a_line_through_all_strips_of_a_wide_page_is_one() -> None:
    parts = [quads(rectangle(0, 10, 1000, 40)), quads(rectangle(900, 10, 1900, 40)), quads(rectangle(1800, 10, 2500, 40))]
    (line,) = merge_strips(parts, [(0, 1000), (900, 1900), (1800, 2800)], 0)
    assert (round(line[:, 0].min()), round(line[:, 0].max())) == (0, 2500)


def test_lines_that_only_touch_stay_two() -> None:
    ranges = [(0, 60), (20, 80)]
    assert len(merge_strips([quads(rectangle(0, 30, 100, 50)), quads(rectangle(0, 48, 100, 68))], ranges, 1)) == 2
    cut = quads(rectangle(0, 400, 100, 412), rectangle(0, 410, 100, 440))  # lines across a long page, the first at the edge
    before = quads(rectangle(0, 360, 100, 401), rectangle(0, 385, 100, 412))
    assert len(merge_strips([before, cut], [(0, 500), (400, 900)], 1)) == 3
    assert merge_strips([np.zeros((0, 4, 2), np.float32)], [(0, 60)], 1).shape == (0, 4, 2)


def test_a_long_receipt_is_read() -> None:
    lines = [f"Item {n:03} {n * 7 % 90}.{n % 90 + 10}" for n in range(76)]
    page = text_page(lines, size=24, width=220)
    assert page.height > 16.5 * page.width
    reader = PageReader(PpocrSettings())
    assert [" ".join(n.text for n in row).replace(" ", "") for row in reader.read(page)] == [n.replace(" ", "") for n in lines]
