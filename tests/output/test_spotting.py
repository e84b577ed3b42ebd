"""Runs of text with places, in both forms, whole, damaged and cut off."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.output.spotting import SpottedText, SpottingStream, parse


def texts(written: Any) -> list[Any]:
    return [(run.text, run.box) for run in parse(written)]


def official(runs: Any) -> str:
    """The form of the model's own answers."""
    return "\n".join(f"{text}({x1},{y1}),({x2},{y2})" for text, (x1, y1, x2, y2) in runs)


@pytest.mark.parametrize("between", ["", "\n", "\n\n", " "])
def test_runs_with_and_without_line_breaks(between: str) -> None:
    written = between.join(["合计(62,560),(448,580)", "¥36.80(500,560),(640,580)"])
    assert texts(written) == [("合计", (62, 560, 448, 580)), ("¥36.80", (500, 560, 640, 580))]


@pytest.mark.parametrize(
    "text",
    [
        "(02) 1234",
        "f(1,2)",
        "Tel (03)9130 2672",
        "(1,2)",
        "a(1,2),(3",
        "3(8)",
        "(10,20),(30,40)",
        "f(1,2),",
        "１（２，３）",
        "x ()",
    ],
)
def test_print_that_looks_like_a_place_stays_text(text: str) -> None:
    assert texts(f"A(1,2),(3,4)\n{text}(10,20),(30,40)") == [("A", (1, 2, 3, 4)), (text, (10, 20, 30, 40))]


def test_where_a_text_stands_is_reported_for_its_confidence() -> None:
    written = "A(1,2),(3,4)\n  二三 (10,20),(30,40)"
    assert [written[run.start : run.end] for run in parse(written)] == ["A", "二三"]


@pytest.mark.parametrize(
    ("place", "box"),
    [
        ("(990,-5),(5,5)", None),  # a minus is no coordinate
        ("(0,0),(1200,9999)", (0, 0, 1000, 1000)),
        ("(300,400),(100,200)", (100, 200, 300, 400)),
        ("(100,50),(100,50)", (100, 50, 101, 51)),
        ("(1000,1000),(1000,1000)", (999, 999, 1000, 1000)),
        ("(1, 2), (3, 4)", (1, 2, 3, 4)),
        ("(1,2)(3,4)", (1, 2, 3, 4)),
    ],
)
def test_places_are_put_right(place: str, box: tuple[int, int, int, int] | None) -> None:
    assert parse(f"x{place}")[0].box == box


PLACE = "(12,34),(56,7"


@pytest.mark.parametrize("cut", [PLACE[:n] for n in range(len(PLACE) + 1)])
def test_a_run_that_was_cut_off_keeps_its_text_and_has_no_place(cut: Any) -> None:
    assert texts("A(1,2),(3,4)\nTotal" + cut) == [("A", (1, 2, 3, 4)), ("Total", None)]


def test_text_without_any_place_is_text() -> None:
    assert texts("only words, f(1,2)") == [("only words, f(1,2)", None)]
    assert texts("") == texts(" \n ") == []


def test_a_place_without_text_is_nothing() -> None:
    assert texts("(156,68),(783,758)") == []


def test_the_json_form() -> None:
    items = [
        {"box": [10, 20, 30, 40], "text": 'a "quoted" {word}'},
        {"text": "x", "box": [2000, 5, 1, 1]},
        {"box": [1, 2, 3], "text": "y"},
    ]
    for written in (json.dumps(items), "```json\n" + json.dumps(items, indent=1) + "\n```"):
        assert texts(written) == [('a "quoted" {word}', (10, 20, 30, 40)), ("x", (1, 1, 1000, 5)), ("y", None)]
    start, end = parse(json.dumps(items))[0].start, parse(json.dumps(items))[0].end
    assert json.dumps(items)[start:end] == r"a \"quoted\" {word}"
    assert texts(json.dumps(items)[:70])[0][0] == 'a "quoted" {word}'  # the second one is cut off
    odd = '[{"box":[1e999,2,3,4],"text":"a"},{"box":[true,2,3,4],"text":"b"},{"text":5},7,null]'
    assert texts(odd) == [("a", None), ("b", None)]


def test_a_bracket_alone_is_no_json() -> None:
    assert texts("[2026] x(1,2),(3,4)") == [("[2026] x", (1, 2, 3, 4))]


words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20).filter(
    lambda t: t.strip() == t and "),(" not in t  # a position within a line cannot be distinguished from that of the line
)
corner = st.integers(0, 999)
runs = st.lists(
    st.tuples(words, st.tuples(corner, corner, st.integers(1, 50), st.integers(1, 50))).map(
        lambda r: (r[0], (r[1][0], r[1][1], min(1000, r[1][0] + r[1][2]), min(1000, r[1][1] + r[1][3])))
    ),
    max_size=6,
)


@given(runs)
def test_what_is_written_officially_is_read_back(expected: Any) -> None:
    if not expected or not expected[0][0].startswith(("[", "```")):
        assert texts(official(expected)) == expected


@given(st.one_of(st.text(max_size=300), st.text(alphabet='(),0123456789 ab[]{}":\n\\textbox', max_size=300)))
def test_nothing_that_is_written_makes_it_fail(written: Any) -> None:
    for prefix in ("", "[", '[{"box":', "x(1,2),(3,4)"):
        found = parse(prefix + written)
        assert all(isinstance(run, SpottedText) and run.text and run.start < run.end for run in found)
        assert all(0 <= run.box[0] < run.box[2] <= 1000 and 0 <= run.box[1] < run.box[3] <= 1000 for run in found if run.box)


@given(runs, st.integers(1, 9))
def test_a_stream_tells_the_same_lines(expected: Any, step: Any) -> None:
    written = official(expected)
    stream = SpottingStream()
    reported = "".join(stream.feed(written[i : i + step]) for i in range(0, len(written), step)) + stream.close()
    assert reported == "".join(f"{run.text}\n" for run in parse(written))


def test_a_stream_tells_a_line_as_soon_as_it_is_complete() -> None:
    stream = SpottingStream()
    assert [stream.feed(piece) for piece in ("Tot", "al(1,2),", "(3,4)", "\n", "36")] == ["", "", "", "Total\n", ""]
    assert stream.close() == "36\n"
    stream = SpottingStream()
    pieces = ('[{"box":[1,2,3,4],"te', 'xt":"a"}', ',{"text":"b","box":[1,1,', "2,2]}]")
    assert [stream.feed(piece) for piece in pieces] == ["", "a\n", "", "b\n"]
    assert stream.close() == ""
