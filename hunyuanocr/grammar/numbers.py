"""Numbers within bounds as rules: JSON without exponents, with a limited number of digits."""

from __future__ import annotations

import math
from fractions import Fraction

from hunyuanocr.grammar.ast import Rule, alternation, concat, digit, literal, optional, repetition

# Limited, because a model may repeat digits indefinitely. The number of a Chinese e-invoice has 20 digits.
INTEGER_DIGITS = 20
FRACTION_DIGITS = 8


def number(minimum: float | None, maximum: float | None, *, integer: bool) -> Rule | None:
    """Return the rule of JSON numbers minimum…maximum, integers or with at most 8 decimals; None if there are none."""
    decimals = 0 if integer else FRACTION_DIGITS
    unit = 10**decimals
    largest = 10 ** (INTEGER_DIGITS + decimals) - 1
    low = -largest if minimum is None else max(-largest, math.ceil(_exact(minimum) * unit))
    high = largest if maximum is None else min(largest, math.floor(_exact(maximum) * unit))
    options = []
    if high >= 0 and low <= high:
        options += _by_length(max(low, 0), high, decimals)
    if low < 0 and low <= high:
        options.append(concat(literal("-"), alternation(*_by_length(max(-high, 0), -low, decimals))))
    return alternation(*options) if options else None


def _exact(value: float) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(str(value))


def _by_length(low: int, high: int, decimals: int) -> list[Rule]:
    """Return the rules of low…high units of the last decimal, one for each number of digits before the point."""
    options: list[Rule] = []
    free: list[int] = []  # digits after the first one, for lengths that the bounds do not restrict
    for length in range(1, INTEGER_DIGITS + 1):
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
    """Return the rule of the numbers low…high, which have the same length; trailing zeros of the `decimals` are optional."""

    def rest(low: str | None, high: str | None, left: int) -> Rule:
        """Return the rule of the last `left` digits; a bound is None if the digits before it satisfy it already."""
        low = low if low and low.strip("0") else None
        high = high if high and high.strip("9") else None
        stop = left <= decimals and low is None
        if low is None and high is None and left < total:
            return _unbounded_digits(left, decimals)
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
            options.append(concat(digit(a, b), _unbounded_digits(left - 1, decimals)))
        return alternation(*options)

    total = len(low)
    return rest(low, high, total)


def _unbounded_digits(left: int, decimals: int) -> Rule:
    """Return the rule of any `left` digits; those after the point are optional."""
    if left < decimals:
        return repetition(digit(0, 9), 0, left) if left else literal("")
    before = left - decimals  # digits before the point
    return concat(repetition(digit(0, 9), before, before), _fraction(decimals)) if before else _fraction(decimals)
