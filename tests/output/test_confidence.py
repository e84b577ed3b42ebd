"""Confidence is that of the weakest token that wrote something to see."""

from math import inf, log, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunyuanocr.output.confidence import TokenConfidence


def scores(*tokens: tuple[Any, ...]) -> TokenConfidence:
    return TokenConfidence((text, None if p is None else log(p)) for text, p in tokens)


def test_one_doubtful_digit_shows() -> None:
    assert scores(*((c, 0.99) for c in "136."), ("8", 0.5), ("0", 0.99)).span(0, 6) == pytest.approx(0.5)


def test_only_tokens_of_the_piece_count() -> None:
    s = scores(('"total":"', 0.1), ("36", 0.9), ('.80","', 0.8), ("date", 0.2))
    assert s.span(9, 11) == pytest.approx(0.9)
    assert s.span(9, 14) == pytest.approx(0.8)  # the token that goes on with the quote wrote digits, too


def test_tokens_that_tell_nothing_do_not_count() -> None:
    s = scores(("a", None), ("b", 0.7), ("c", None))
    assert s.span(0, 3) == pytest.approx(0.7)
    assert s.span(0, 1) is None
    assert s.span(3, 9) is s.span(1, 1) is None
    assert TokenConfidence([("a", nan)]).span(0, 1) is None
    assert TokenConfidence([("a", -inf), ("b", 0.1)]).span(0, 1) == 0.0
    assert TokenConfidence([("a", 1e-7)]).span(0, 1) == 1.0


def test_white_space_is_not_seen() -> None:
    s = scores(("a", 0.9), (" ", 0.1), ("b", 0.8), ("\n", 0.2))
    assert s.span(0, 4) == pytest.approx(0.8)
    assert s.span(1, 2) is None


def test_a_character_of_several_tokens_counts_with_all_of_them() -> None:
    s = scores(("", 0.3), ("", 0.6), ("额", 0.9), ("", 0.5), ("元", 0.9))
    assert s.span(0, 1) == pytest.approx(0.3)
    assert s.span(1, 2) == pytest.approx(0.5)


def test_null_is_as_sure_as_its_first_token() -> None:
    assert scores(('"a":', 0.1), ("nu", 0.7), ("ll", 0.2), ("}", 0.1)).at(4) == pytest.approx(0.7)


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(-20, 0))), st.integers(0, 30), st.integers(0, 30))
def test_confidence_is_a_probability_or_none(tokens: Any, start: Any, end: Any) -> None:
    found = TokenConfidence(tokens).span(start, end)
    assert found is None or 0 <= found <= 1
    everything = TokenConfidence(tokens)
    whole = everything.span(0, len(everything.text))
    if found is not None and end <= len(everything.text):
        assert whole is not None
        assert whole <= found
