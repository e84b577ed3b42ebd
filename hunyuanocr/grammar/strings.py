"""Strings of JSON and regular expressions over them as rules.

A `pattern` of JSON Schema may match anywhere in the string. Python's own parser reads it; what it
does not know is left to the validation of the answer, which runs patterns in RE2 (see `client_regex`).
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.grammar.ast import (
    Alternation,
    Concat,
    Repetition,
    Rule,
    alternation,
    char_class,
    complement,
    concat,
    literal,
    repeat_until,
    repetition,
)

_MAX_PATTERN_LENGTH = 1000
_DIGIT = [(48, 57)]
_WORD = [(48, 57), (65, 90), (95, 95), (97, 122)]
_SPACE = [(c, c) for c in map(ord, " \t\n")]
_ANY_SPACE = [(9, 13), (28, 32), (133, 133), (160, 160), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
              (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]  # fmt: skip
_CLASSES = {
    "CATEGORY_DIGIT": _DIGIT, "CATEGORY_NOT_DIGIT": complement(_DIGIT), "CATEGORY_WORD": _WORD,
    "CATEGORY_NOT_WORD": [(a, b) for a, b in complement(_WORD) if b < 128], "CATEGORY_SPACE": _SPACE,
    "CATEGORY_NOT_SPACE": complement(_ANY_SPACE),
}  # fmt: skip

# Within the quotes of JSON. `\u` escapes are left out: each character of a page may be written as itself, and half of a surrogate
# pair could not be encoded. So are \b, \f and \r, which no reading needs and which LaTeX (\frac, \beta) would run into.
_PLAIN = [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x10FFFF)]
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_PLAIN_CHARS = char_class(_PLAIN)
if _PLAIN_CHARS is None:
    raise RuntimeError("no plain characters")
CHARACTER = alternation(_PLAIN_CHARS, *(literal(written) for written in _ESCAPES.values()), literal("\\/"))
_QUOTE = literal('"')
_ANYTHING = repeat_until(CHARACTER, 0, None, literal(""))
_ANYTHING_TO_THE_END = repeat_until(CHARACTER, 0, None, _QUOTE)
STRING = concat(_QUOTE, _ANYTHING_TO_THE_END)

# Counting any characters is dear to compile (see rules.py): long limits are left to the engine, which counts the longest of a
# schema for all strings.
_MAX_COUNTED = 12
_MAX_NESTED = 50
_MAX_LOOSE = 12


class Unwritable(Exception):
    """The pattern cannot be put into rules; the message says why."""


def string(least: int, most: int | None) -> Rule:
    """A string of JSON, with as many characters; limits above 12 are not (the engine counts them)."""
    least = least if least <= _MAX_COUNTED else 0
    most = most if most is not None and most <= _MAX_COUNTED else None
    return concat(_QUOTE, repeat_until(CHARACTER, least, most, _QUOTE)) if least or most is not None else STRING


def pattern(expression: str) -> Rule:
    """A string of JSON in which the expression matches.

    Raises InvalidSchema for what is too long, and Unwritable for one with parts that no rule can hold: look-around, back
    references, word borders, flags, RE2's own syntax.
    """
    if len(expression) > _MAX_PATTERN_LENGTH:
        raise InvalidSchema(f"A pattern of the schema has more than {_MAX_PATTERN_LENGTH} characters.")
    try:
        # The parser behind `re` has no public name; hypothesis reads patterns in the same way.
        tree = importlib.import_module("re._parser").parse(expression)
    except (re.error, RecursionError, OverflowError) as e:
        raise Unwritable(f"what Python cannot parse: {e}") from e
    if tree.state.flags & ~re.UNICODE:
        raise Unwritable("flags of a pattern")
    parsed = list(tree)
    options = parsed[0][1][1] if len(parsed) == 1 and str(parsed[0][0]) == "BRANCH" else [parsed]
    rule = alternation(*(_unanchored(list(option)) for option in options))
    if not _is_light(rule):
        raise Unwritable("many repetitions")
    return rule


def _unanchored(items: list[Any]) -> Rule:
    """A sequence of the parser's items, with anything before and after it where it is not anchored."""
    starts = bool(items) and _is_anchor(items[0], "AT_BEGINNING")
    items = items[1:] if starts else items
    ends = bool(items) and _is_anchor(items[-1], "AT_END")
    items = items[:-1] if ends else items
    return concat(_QUOTE, *([] if starts else [_ANYTHING]), _sequence(items), _QUOTE if ends else _ANYTHING_TO_THE_END)


def _is_anchor(item: Any, name: str) -> bool:
    return str(item[0]) == "AT" and str(item[1]).startswith(name)


def _sequence(items: Any) -> Rule:
    return concat(*(_item(str(op), value) for op, value in items)) if len(items) else literal("")


def _item(op: str, value: Any) -> Rule:
    if op in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return _one(_ranges(op, value))
    if op == "BRANCH":
        return alternation(*(_sequence(option) for option in value[1]))
    if op == "SUBPATTERN":
        if value[1] or value[2]:
            raise Unwritable("flags within a pattern")
        return _sequence(value[3])
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, part = value
        return _counted(_sequence(part), least, None if str(most) == "MAXREPEAT" else most)
    raise Unwritable(f"{op} in a pattern")


def _counted(part: Rule, least: int, most: int | None) -> Rule:
    """Turns of a part. Unwritable where xgrammar would follow very many ways at once, which takes it up to seconds a token."""
    within = _turns(part)
    if within > 1 and (not part.shortest or (_MAX_NESTED if most is None else most) * within > _MAX_NESTED):
        raise Unwritable("counts within counts")
    if not _holds_wide(part):
        return repetition(part, least, most)
    if not part.is_expensive or any(len(option.shortest) > 2 for option in _within(part)) or least > _MAX_COUNTED:
        raise Unwritable("many turns of more than one character")
    return repeat_until(part, least, most if most is not None and most <= _MAX_COUNTED else None, literal(""))


def _within(rule: Rule) -> tuple[Rule, ...]:
    if isinstance(rule, Concat):
        return rule.parts
    return rule.options if isinstance(rule, Alternation) else (rule.part,) if isinstance(rule, Repetition) else ()


def _holds_wide(rule: Rule) -> bool:
    return rule.is_expensive or any(map(_holds_wide, _within(rule)))


def _repeats(rule: Rule) -> list[Repetition]:
    own = [rule] if isinstance(rule, Repetition) else []
    return [*own, *(r for part in _within(rule) for r in _repeats(part))]


def _turns(rule: Rule) -> int:
    """How many turns are counted within; those without end, and those of any character, are more than may be nested."""
    own = 1
    if isinstance(rule, Repetition):
        own = _MAX_NESTED + 1 if rule.max_count is None or _holds_wide(rule.part) else max(1, rule.max_count)
    return own * max(map(_turns, _within(rule)), default=1)


def _is_light(rule: Rule) -> bool:
    """Whether xgrammar can keep up with it: few repetitions of which one could go on where the next one begins."""
    loose = [r for r in _repeats(rule) if r.min_count != r.max_count]
    wide = [r for r in loose if _holds_wide(r.part)]
    endless = sum(r.max_count is None for r in loose)
    counted = sum(r.max_count is not None for r in wide)
    return len(loose) <= _MAX_LOOSE and endless <= 3 and counted <= 1 and len(wide) <= 3 - counted


def _ranges(op: str, value: Any) -> list[tuple[int, int]]:
    if op == "LITERAL":
        return [(value, value)]
    if op == "NOT_LITERAL":
        return complement([(value, value)])
    if op == "ANY":
        return complement([(10, 10)])
    found: list[tuple[int, int]] = []
    for kind, part in value:
        name = str(kind)
        if name == "CATEGORY":
            found += _CLASSES[str(part)]
        elif name != "NEGATE":
            found.append(part if name == "RANGE" else (part, part))
    return complement(found) if str(value[0][0]) == "NEGATE" else found


def _one(ranges: list[tuple[int, int]]) -> Rule:
    """One character of the ranges as JSON writes it. Raises Unwritable if JSON can write none of them."""
    plain = char_class([(max(a, c), min(b, d)) for a, b in ranges for c, d in _PLAIN if max(a, c) <= min(b, d)])
    escaped = [literal(w) for c, w in _ESCAPES.items() if any(a <= ord(c) <= b for a, b in ranges)]
    options = [*([plain] if plain else []), *escaped]
    if not options:
        raise Unwritable("characters that JSON strings cannot hold")
    return alternation(*options)
