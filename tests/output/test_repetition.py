"""A loop at the end of a text is found, and cut to one unit; what only looks like one is left."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.output.repetition import find_tail_repetition


@pytest.mark.parametrize(("unit", "times"), [("ab", 8), ("x", 8), ("第一行，", 20), ("y" * 255 + "z", 8), ("1, ", 4000)])
def test_a_loop_is_cut_to_one_unit(unit: str, times: int) -> None:
    text = "HEAD=" + unit * times
    assert text[: find_tail_repetition(text)] == "HEAD=" + unit


NO_LOOPS = ["", "abc", "ab" * 7, "ab" * 8 + "c", " " * 99, "\n" * 99, ("y" * 256 + "z") * 9, "HEAD" + "x" * 7]


@pytest.mark.parametrize("text", NO_LOOPS)
def test_no_loop(text: Any) -> None:
    assert find_tail_repetition(text) is None


def test_a_loop_that_is_stopped_within_a_unit() -> None:
    text = "HEAD" + "abc" * 10 + "ab"
    assert text[: find_tail_repetition(text)] == "HEADabc"


def test_lines_are_left_whole() -> None:
    text = "<table>\n" + "<tr><td>1</td></tr>\n" * 30 + "<tr><td>1</"
    assert text[: find_tail_repetition(text)] == "<table>\n<tr><td>1</td></tr>"


@given(st.text(max_size=50), st.text(min_size=1, max_size=40), st.integers(8, 30))
def test_what_is_left_begins_the_text_and_is_no_longer_than_two_units(head: Any, unit: Any, times: Any) -> None:
    text = head + unit * times
    left = find_tail_repetition(text)
    if unit.strip():
        assert left is not None
        assert left <= len(head) + 2 * len(unit)
    assert left is None or 0 <= left <= len(text)


def test_it_takes_no_time() -> None:
    text = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(100_000))
    began = time.perf_counter()
    for _ in range(20):
        find_tail_repetition(text)
    assert time.perf_counter() - began < 1.0
