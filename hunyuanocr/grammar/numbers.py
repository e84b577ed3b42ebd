"""Numbers within bounds as rules: JSON without exponents, with bounded digits."""

from __future__ import annotations

import math
from fractions import Fraction

from hunyuanocr.grammar.ast import Rule, alternation, concat, digit, literal, optional, repetition

# Bounded, for a model that reads nothing may write digits without end. The number of a Chinese e-invoice has 20 digits.
WHOLE_DIGITS = 20
FRACTION_DIGITS = 8


def number(
    least: float | None, most: float | None, above: float | None, below: float | None, *, whole: bool
) -> Rule | None:  # fmt: skip
    """JSON numbers n with least <= n <= most and above < n < below, whole ones or with 8 decimals; None if there is none."""
    decimals = 0 if whole else FRACTION_DIGITS
    unit = 10**decimals
    highest = 10 ** (WHOLE_DIGITS + decimals) - 1
    low = max(
        -highest, -highest if least is None else math.ceil(_exact(least) * unit),
        -highest if above is None else math.floor(_exact(above) * unit) + 1,
    )  # fmt: skip
    high = min(
        highest, highest if most is None else math.floor(_exact(most) * unit),
        highest if below is None else math.ceil(_exact(below) * unit) - 1,
    )  # fmt: skip
    options = []
    if high >= 0 and low <= high:
        options += _lengths(max(low, 0), high, decimals)
    if low < 0 and low <= high:
        options.append(concat(literal("-"), alternation(*_lengths(max(-high, 0), -low, decimals))))
    return alternation(*options) if options else None


def _exact(value: float) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(str(value))


def _lengths(low: int, high: int, decimals: int) -> list[Rule]:
    """Numbers of low…high units of the last decimal, by how many digits stand before the point."""
    options: list[Rule] = []
    free: list[int] = []  # how many digits follow the first one, where the bounds do not matter
    for length in range(1, WHOLE_DIGITS + 1):
        first, last = (0 if length == 1 else 10 ** (length - 1 + decimals)), 10 ** (length + decimals) - 1
        if max(low, first) > min(high, last):
            continue
        if length > 1 and low <= first and last <= high:
            free.append(length - 1)
            continue
        width = length + decimals
        options.append(_digits(f"{max(low, first):0{width}}", f"{min(high, last):0{width}}", decimals))
    if free:
        options.append(concat(digit(1, 9), repetition(digit(0, 9), free[0], free[-1]), _fraction(decimals)))
    return options


def _fraction(decimals: int) -> Rule:
    return optional(concat(literal("."), repetition(digit(0, 9), 1, decimals))) if decimals else literal("")


def _digits(low: str, high: str, decimals: int) -> Rule:
    """Numbers between two of equally many digits, the last `decimals` of them after the point; trailing zeros may be left out."""

    def rest(low: str | None, high: str | None, left: int) -> Rule:
        """What follows when `left` digits are left; a bound is None once the digits before it have settled it."""
        low = low if low and low.strip("0") else None
        high = high if high and high.strip("9") else None
        stop = left <= decimals and low is None
        if low is None and high is None and left < everything:
            return _loose(left, decimals)
        options: list[Rule] = [literal("")] if stop else []
        if left:
            follow = following(low, high, left)
            options.append(concat(literal("."), follow) if left == decimals else follow)
        return alternation(*options)

    def following(low: str | None, high: str | None, left: int) -> Rule:
        a, b = int(low[0]) if low else 0, int(high[0]) if high else 9
        if low and high and a == b:
            return concat(digit(a, a), rest(low[1:], high[1:], left - 1))
        options: list[Rule] = []
        if low:
            options.append(concat(digit(a, a), rest(low[1:], None, left - 1)))
            a += 1
        if high:
            options.append(concat(digit(b, b), rest(None, high[1:], left - 1)))
            b -= 1
        if a <= b:
            options.append(concat(digit(a, b), _loose(left - 1, decimals)))
        return alternation(*options)

    everything = len(low)
    return rest(low, high, everything)


def _loose(left: int, decimals: int) -> Rule:
    """Any `left` digits, those after the point as far as one likes."""
    if left < decimals:
        return repetition(digit(0, 9), 0, left) if left else literal("")
    whole = left - decimals
    return concat(repetition(digit(0, 9), whole, whole), _fraction(decimals)) if whole else _fraction(decimals)
