"""Receipts that lie sideways or upside down: the same values as upright, boxes on the picture as it lies."""

from collections.abc import Callable
from typing import Any

import pytest

from hunyuanocr.instructions import parse_instruction
from hunyuanocr.pipeline.documents import resolve_documents
from hunyuanocr.pipeline.rotation import detect_rotation, to_original, to_upright
from hunyuanocr.types import Field, FieldType, Line, Reading

WIDTH, HEIGHT = 600, 900
TEXTS = [  # text, left, top, right
    ("CORNER SHOP", 200, 40, 400), ("Date: 2026-03-14", 40, 120, 300), ("Tea", 40, 200, 120), ("2", 300, 200, 320),
    ("9.00", 480, 200, 560), ("Coffee", 40, 280, 160), ("1", 300, 280, 320), ("27.80", 480, 280, 560), ("Total", 40, 360, 140),
    ("36.80", 480, 360, 560), ("Cash", 40, 440, 120), ("50.00", 480, 440, 560), ("Change", 40, 520, 150),
    ("13.20", 480, 520, 560),
]  # fmt: skip


def box(
    left: Any, top: int, right: Any, bottom: int
) -> tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


UPRIGHT = tuple(Line(text, box(left, top, right, top + 36), 0.9) for text, left, top, right in TEXTS)
LIES: dict[int, Callable[..., Any]] = {  # how a picture lies: upright corners → its corners, left and top first
    0: box,
    1: lambda left, top, right, bottom: box(top, WIDTH - right, bottom, WIDTH - left),
    2: lambda left, top, right, bottom: box(WIDTH - right, HEIGHT - bottom, WIDTH - left, HEIGHT - top),
    3: lambda left, top, right, bottom: box(HEIGHT - bottom, left, HEIGHT - top, right),
}


def lying(turn: Any, lines: Any = UPRIGHT) -> tuple[Any, ...]:
    return tuple(Line(n.text, LIES[turn](*n.box[0], *n.box[2]), n.confidence) for n in lines)


@pytest.mark.parametrize("turn", LIES)
def test_values_are_those_of_the_upright_page_and_stand_where_they_lie(turn: Any) -> None:
    lines = lying(turn)
    assert detect_rotation(lines) == turn
    task = parse_instruction(fields=["total", "date", "merchant", "change", "items"])
    size = (HEIGHT, WIDTH) if turn % 2 else (WIDTH, HEIGHT)
    total, date, merchant, change, items = resolve_documents(task, Reading(""), lines, [size]).fields
    assert (total.value, date.value, merchant.value, change.value) == ("36.80", "2026-03-14", "CORNER SHOP", "13.20")
    assert total.box == lines[9].box
    assert items.rows is not None
    assert [(row["name"].value, row["amount"].value) for row in items.rows] == [("Tea", "9.00"), ("Coffee", "27.80")]
    assert items.rows[0]["amount"].box == lines[4].box


@pytest.mark.parametrize("turn", LIES)
def test_values_of_a_language_model_are_found_where_they_lie(turn: Any) -> None:
    lines = lying(turn)
    size = (HEIGHT, WIDTH) if turn % 2 else (WIDTH, HEIGHT)
    wrote = Reading("", values={"total": "36.80", "date": "2026-03-14", "change": "99.99"}, confidences={"total": 0.75})
    total, date, change = resolve_documents(parse_instruction(fields=["total", "date", "change"]), wrote, lines, [size]).fields
    assert (total.grounded, total.box, total.text_confidence) == (True, lines[9].box, 0.75)
    assert all(other.box is None or other.box in {n.box for n in lines} for other in change.alternatives), "turned back as well"
    assert date.grounded
    assert (change.value, change.grounded, change.box) == ("99.99", False, None), "nobody's word is taken on trust"


def test_each_page_lies_by_itself() -> None:
    lines = (*UPRIGHT, *(Line(n.text, n.box, n.confidence, 1) for n in lying(1)))
    seen, sizes, turns = to_upright(lines, [(WIDTH, HEIGHT), (HEIGHT, WIDTH)])
    assert (turns, sizes) == ((0, 1), ((WIDTH, HEIGHT), (WIDTH, HEIGHT)))
    assert [n.box for n in seen] == 2 * [n.box for n in UPRIGHT]
    field = Field("x", FieldType.TEXT, "Tea", box=UPRIGHT[2].box, page=1)
    assert to_original([field, Field("gone", FieldType.TEXT)], sizes, turns)[0].box == lying(1)[2].box


def test_few_lines_and_columns_side_by_side_say_nothing() -> None:
    assert detect_rotation(lying(2)[:3]) == 0
    assert detect_rotation(()) == 0
    columns = [Line(f"word {i}", box(300 * (i // 6), 40 * (i % 6), 300 * (i // 6) + 200, 40 * (i % 6) + 30)) for i in range(12)]
    assert detect_rotation(columns) == 0
    assert detect_rotation([Line("same row", box(90 * i, 10, 90 * i + 80, 40)) for i in range(6)]) == 0
