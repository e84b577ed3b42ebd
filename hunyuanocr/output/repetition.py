"""Loops at the end of an answer: a model that decodes greedily may write one unit again and again until its tokens run out.

The rule is HunyuanOCR's own (inference/utils of its repository): a unit of 1 … 256 characters, not only white space, that
stands at least 8 times at the end of the text.
"""

from __future__ import annotations

from dataclasses import dataclass

_MAX_LENGTH = 256  # characters of a unit
_TIMES = 8
_SEEN = 8000  # characters from the end in which a loop is looked for


@dataclass(frozen=True)
class Loop:
    """The text repeats itself with a period of `unit` characters from character `start` to its end."""

    start: int
    unit: int


def find_loop(text: str) -> Loop | None:
    """The loop at the end of the text with the shortest unit, or None."""
    tail = text[-_SEEN:]
    for unit in range(1, min(_MAX_LENGTH, len(tail) // _TIMES) + 1):
        if tail[-unit * (_TIMES - 1) :] == tail[-unit * _TIMES : -unit] and tail[-unit:].strip():
            return Loop(_start(text, unit), unit)
    return None


def find_tail_repetition(text: str) -> int | None:
    """How many characters are left when the loop at the text's end is cut to one unit; None where there is no loop.

    A unit with line breaks is cut at the end of a line, so that no half line is left.
    """
    loop = find_loop(text)
    if loop is None:
        return None
    end = loop.start + loop.unit
    return text.find("\n", end - 1) if "\n" in text[loop.start : end] else end


def _start(text: str, unit: int) -> int:
    """Where the period begins; earlier than the last characters looked at, if need be."""
    start = len(text) - unit * _TIMES
    while start >= unit and text[start - unit : start] == text[start : start + unit]:
        start -= unit
    while start and text[start - 1] == text[start - 1 + unit]:
        start -= 1
    return start
