"""How sure a language model was of a piece of what it wrote, from the probabilities of its tokens.

The confidence of a piece is the least probability among the tokens that wrote its visible characters. The product punishes
long text for being long, and the mean hides the one digit that may be wrong: in an amount of eight tokens, one of 0.5 and
seven of 0.99 have a geometric mean of 0.91. Who checks a receipt wants to see the 0.5.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate


class TokenConfidence:
    """Natural logarithms of the probabilities of tokens, found by the characters that they wrote.

    A token is its text and its logarithm, None for one that tells nothing (the grammar left no choice, or the engine wrote it).
    A token without text has begun a character of several bytes: it counts with the character that follows.
    """

    def __init__(self, tokens: Iterable[tuple[str, float | None]]) -> None:
        kept = list(tokens)
        self.text = "".join(text for text, _ in kept)
        self._scores = [score for _, score in kept]
        self._ends = list(accumulate(len(text) for text, _ in kept))

    def span(self, start: int, end: int) -> float | None:
        """Confidence in characters `start` … `end` of the text, 0 … 1; None if no token of them counts."""
        return self._least(t for t in self._tokens(start, end) if self._visible(t, start, end))

    def at(self, start: int) -> float | None:
        """Probability of the token that wrote the character: of `null`, all that follows its first token follows from it."""
        return self._least(self._tokens(start, start + 1))

    def _tokens(self, start: int, end: int) -> range:
        """The tokens that wrote some of these characters, with those that began the first of them."""
        if start >= min(end, len(self.text)):
            return range(0)
        first = bisect_right(self._ends, start)
        while first and self._ends[first - 1] == (self._ends[first - 2] if first > 1 else 0):
            first -= 1
        return range(first, min(bisect_left(self._ends, end) + 1, len(self._ends)))

    def _visible(self, token: int, start: int, end: int) -> bool:
        """Whether the token wrote a character of the piece that can be seen, or began one."""
        first = self._ends[token - 1] if token else 0
        last = self._ends[token]
        return first == last or bool(self.text[max(first, start) : min(last, end)].strip())

    def _least(self, tokens: Iterable[int]) -> float | None:
        known = [s for t in tokens if (s := self._scores[t]) is not None and not math.isnan(s)]
        return min(1.0, math.exp(min(known))) if known else None
