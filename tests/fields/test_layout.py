"""Rows stay rows on pages that are skew, seen at an angle or curled; a part of a line has its part of the box."""

from typing import Any, cast

import pytest

from hunyuanocr.fields.layout import Layout, segment_box, union_box
from hunyuanocr.types import Line
from tests.fields.pages import page

ROWS = [[(0, f"第{n}行左边文字"), (12, "中间"), (20, f"{n}.00")] for n in range(1, 15)]


def texts(lines: list[Any]) -> list[Any]:
    return [[c.text for c in row] for row in Layout(lines).rows]


@pytest.mark.parametrize("skew", [0, 1.5, -3, 6, -6])
def test_rows_of_a_skew_page(skew: float) -> None:
    assert texts(page(ROWS, skew=skew)) == [[piece[1] for piece in row] for row in ROWS]


def test_rows_of_a_page_that_curls_at_its_end() -> None:
    def bend(line: Any) -> Line:
        return Line(line.text, cast(Any, tuple((x, y - 0.0006 * max(y - 600, 0) * (x - 100) / 6) for x, y in line.box)), 0.9)

    lines = [bend(line) for line in page(ROWS)]
    assert texts(lines) == [[piece[1] for piece in row] for row in ROWS]


def test_pages_do_not_mix() -> None:
    lines = page([[(0, "甲"), (20, "1.00")]]) + page([[(0, "乙"), (20, "2.00")]], number=1)
    assert texts(lines) == [["甲", "1.00"], ["乙", "2.00"]]


def test_a_part_has_its_share_of_the_box() -> None:
    line = Line("合计 36.80", ((100, 50), (300, 60), (300, 100), (100, 90)))
    (x0, y0), (x1, _), (_, y2), _ = segment_box(line, 3, 8)
    assert 180 < x0 < 220
    assert x1 == 300
    assert 50 < y0 < 60
    assert 90 < y2 <= 100
    assert segment_box(line, 0, 8) == line.box


def test_boxes_of_several_lines_are_joined() -> None:
    a, b = ((0, 0), (10, 0), (10, 5), (0, 5)), ((5, 5), (30, 6), (30, 12), (5, 11))
    assert union_box([a]) == a
    assert union_box([a, b]) == ((0, 0), (30, 0), (30, 12), (0, 12))


def test_nothing_to_lay_out() -> None:
    assert Layout([]).rows == []
    assert Layout([Line("   ", ((0, 0), (9, 0), (9, 5), (0, 5)))]).rows == []
