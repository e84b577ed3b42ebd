"""Which regular expressions of a client's schema are let in: one that backtracks without end would stop the whole process.

Python's engine holds the interpreter while it matches, so no deadline can end it; the danger has to be seen beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from re import _constants as signs  # type: ignore[attr-defined]  # isort: skip -- the standard library's own parser
from re import _parser as parser  # type: ignore[attr-defined]  # isort: skip

_REPEATS = (signs.MAX_REPEAT, signs.MIN_REPEAT, signs.POSSESSIVE_REPEAT)
_MANY = 16  # a repeat that may run longer counts as endless
_MOST_ENDLESS = 3  # n endless repeats in a row may take (length of the text) ** n steps


def is_safe(pattern: str) -> bool:
    """False for what is no pattern, and for endless repeats within repeats, choices within repeats, or back-references."""
    try:
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    endless = list(_endless(tree))
    return None not in endless and len(endless) <= _MOST_ENDLESS


def _endless(tree: Iterable[Any], *, within: bool = False, repeated: bool = False) -> Iterable[int | None]:
    """One number for each endless repeat; None for what is never let in. `within` a loose repeat, `repeated` by any."""
    for sign, value in tree:
        if sign in _REPEATS:
            least, most, inner = value
            loose = most > least
            if (within and loose) or (repeated and most > _MANY):
                yield None
            if most > _MANY:
                yield int(most)
            yield from _endless(inner, within=within or (loose and most > 1), repeated=repeated or most > 1)
        elif sign is signs.BRANCH:
            if within:
                yield None
            for branch in value[1]:
                yield from _endless(branch, within=within, repeated=repeated)
        elif sign in (signs.SUBPATTERN, signs.ASSERT, signs.ASSERT_NOT):
            yield from _endless(value[-1], within=within, repeated=repeated)
        elif sign in (signs.GROUPREF, signs.GROUPREF_EXISTS, signs.ATOMIC_GROUP):
            yield None
