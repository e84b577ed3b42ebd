"""Repetition at the end of an answer: with greedy decoding a model may repeat one unit until it reaches its maximum length.

The rule is that of HunyuanOCR (inference/utils of its repository): a unit of 1 … 256 characters, not only white space, that
occurs at least 8 times at the end of the text.
"""

from __future__ import annotations

from dataclasses import dataclass

_MAX_UNIT = 256  # characters
_MIN_REPEATS = 8
_WINDOW = 8000  # characters at the end that are searched


@dataclass(frozen=True)
class Loop:
    """The text is periodic with `unit` characters from character `start` to its end."""

    start: int
    unit: int


def find_loop(text: str) -> Loop | None:
    """Return the loop with the shortest unit at the end of the text, or None."""
    tail = text[-_WINDOW:]
    for unit in range(1, min(_MAX_UNIT, len(tail) // _MIN_REPEATS) + 1):
        if tail[-unit * (_MIN_REPEATS - 1) :] == tail[-unit * _MIN_REPEATS : -unit] and tail[-unit:].strip():
            return Loop(_start(text, unit), unit)
    return None


def find_tail_repetition(text: str) -> int | None:
    """Return the length of the text with its final loop cut to one unit; None if there is no loop.

    A unit with line breaks is cut at the end of a line, so that no incomplete line remains.
    """
    loop = find_loop(text)
    if loop is None:
        return None
    end = loop.start + loop.unit
    return text.find("\n", end - 1) if "\n" in text[loop.start : end] else end


def _start(text: str, unit: int) -> int:
    """Return the start of the loop, which may be before the searched window."""
    start = len(text) - unit * _MIN_REPEATS
    while start >= unit and text[start - unit : start] == text[start : start + unit]:
        start -= unit
    while start and text[start - 1] == text[start - 1 + unit]:
        start -= 1
    return start
