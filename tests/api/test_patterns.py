"""Patterns in clients' schemas: everyday ones pass, those that may run away do not."""

from __future__ import annotations

import re

import pytest

from api.patterns import is_safe


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}-\d{2}$", r"^(\d{1,3}\.){3}\d{1,3}$", r"^[A-Z]{2,3}-?\d+$", r"^(\d{2}){3}$", r"^(cash|card)$",
        r"^\+?\d[\d -]{7,14}$", r".*", r"^[¥$]?\d+(\.\d{2})?$", "",
    ],
)  # fmt: skip
def test_everyday_patterns(pattern):
    assert is_safe(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$", r"(a|aa)*$", r"(a|a)+$", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(\w*\s?)*$",
        r"(.*)\1", r"a*a*a*a*a*b", r"(?=(a+)+$)a", r"(a{0,99}){9}", "(", "a{99999999999}",
    ],
)  # fmt: skip
def test_runaways(pattern):
    assert not is_safe(pattern)


def test_whatever_is_let_in_ends():
    """The worst text for each everyday shape is answered; a runaway would hang here."""
    for pattern in (r"^.*a.*b.*c$", r"^\s*\d+\s*$", r"^[a-z]+[a-z]+[a-z]+$"):
        assert is_safe(pattern)
        assert re.search(pattern, "a" * 300 + "!") is None
