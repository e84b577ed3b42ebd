"""The confidence of a part of a language model's output, from the probabilities of its tokens.

It is the lowest probability among the tokens of the visible characters. The product would penalise long text, and the mean hides
a single wrong digit: in an amount of eight tokens, one of 0.5 and seven of 0.99 have a geometric mean of 0.91. A person who
checks a receipt needs the 0.5.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate


class TokenConfidence:
    """Natural logarithms of token probabilities, by the characters of the tokens.

    A token is its text and its logarithm; None if that is not a confidence (the grammar forced it, or the engine added it). A
    token without text is the start of a character of several bytes, and counts with the following character.
    """

    def __init__(self, tokens: Iterable[tuple[str, float | None]]) -> None:
        kept = list(tokens)
        self.text = "".join(text for text, _ in kept)
        self._scores = [score for _, score in kept]
        self._ends = list(accumulate(len(text) for text, _ in kept))

    def span(self, start: int, end: int) -> float | None:
        """Return the confidence of characters `start` … `end`, 0 … 1; None if none of their tokens has one."""
        return self._min_probability(t for t in self._tokens(start, end) if self._visible(t, start, end))

    def at(self, start: int) -> float | None:
        """Return the probability of the character's token; for `null` its first token determines the others."""
        return self._min_probability(self._tokens(start, start + 1))

    def _tokens(self, start: int, end: int) -> range:
        """Return the tokens of these characters, including those that start the first one."""
        if start >= min(end, len(self.text)):
            return range(0)
        first = bisect_right(self._ends, start)
        while first and self._ends[first - 1] == (self._ends[first - 2] if first > 1 else 0):
            first -= 1
        return range(first, min(bisect_left(self._ends, end) + 1, len(self._ends)))

    def _visible(self, token: int, start: int, end: int) -> bool:
        """Return whether the token has a visible character of the span, or starts one."""
        first = self._ends[token - 1] if token else 0
        last = self._ends[token]
        return first == last or bool(self.text[max(first, start) : min(last, end)].strip())

    def _min_probability(self, tokens: Iterable[int]) -> float | None:
        known = [s for t in tokens if (s := self._scores[t]) is not None and not math.isnan(s)]
        return min(1.0, math.exp(min(known))) if known else None
