"""A grammar as a graph of rules, which `notation` prints for xgrammar and of which `ending` finds the rest of a text.

Rules are shared by identity and never refer back to themselves, so that whatever follows them ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hunyuanocr.errors import InvalidSchema

MAX_CHARACTERS = 20_000  # of the shortest answer; a longer one is no answer that a model could write
_SAMPLES = " 0aA?一"  # what stands for a class of characters when something must, the most harmless first
_EXPENSIVE = 1000
_HIGHEST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


@dataclass(frozen=True, eq=False)
class Rule:
    """What may be written; `shortest` is the shortest text of it."""

    shortest: str

    @property
    def is_expensive(self) -> bool:
        """Whether it is one of very many characters, for each occurrence of which xgrammar tries the whole vocabulary."""
        return False


@dataclass(frozen=True, eq=False)
class Literal(Rule):
    """Exactly the text `shortest`."""


@dataclass(frozen=True, eq=False)
class CharClass(Rule):
    """One character of the ranges (first and last code point)."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def is_expensive(self) -> bool:
        """Whether the ranges are of very many characters."""
        return sum(b - a for a, b in self.ranges) > _EXPENSIVE


@dataclass(frozen=True, eq=False)
class Concat(Rule):
    """The parts one after another."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class Alternation(Rule):
    """One of the options."""

    options: tuple[Rule, ...]

    @property
    def is_expensive(self) -> bool:
        """Whether an option is."""
        return any(option.is_expensive for option in self.options)


@dataclass(frozen=True, eq=False)
class Repetition(Rule):
    """The part, `min_count` to `max_count` times (None: without end)."""

    part: Rule
    min_count: int
    max_count: int | None


@dataclass(frozen=True, eq=False)
class RepeatUntil(Concat):
    """`turns` and the tail that ends them: a Series that is printed otherwise, for parts of any character."""

    turns: Repetition
    tail: Rule


def literal(value: str) -> Literal:
    """Exactly this text. Raises InvalidSchema for half of a surrogate pair, which is no character."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InvalidSchema("The schema holds half of a surrogate pair, which is no character.") from e
    return Literal(_short(value))


def char_class(ranges: Iterable[tuple[int, int]]) -> CharClass | None:
    """One character of the ranges, surrogates left out; None if there is none."""
    kept = _without(sorted(ranges), _SURROGATES)
    if not kept:
        return None
    sample = next((c for c in _SAMPLES if any(a <= ord(c) <= b for a, b in kept)), chr(kept[0][0]))
    return CharClass(sample, tuple(kept))


def digit(first: int, last: int) -> CharClass:
    """One digit, first…last."""
    return CharClass(str(first), ((48 + first, 48 + last),))


def complement(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """All code points outside of the ranges."""
    rest = [(0, _HIGHEST)]
    for taken in ranges:
        rest = _without(rest, taken)
    return rest


def _without(ranges: Sequence[tuple[int, int]], taken: tuple[int, int]) -> list[tuple[int, int]]:
    cut = [part for a, b in ranges for part in ((a, min(b, taken[0] - 1)), (max(a, taken[1] + 1), b))]
    return list(dict.fromkeys((a, b) for a, b in cut if a <= b))


def concat(*parts: Rule) -> Rule:
    """The parts one after another."""
    return parts[0] if len(parts) == 1 else Concat(_short("".join(p.shortest for p in parts)), parts)


def alternation(*options: Rule) -> Rule:
    """One of at least one options. Its shortest text is `null` where that is one: a value that was not read is not empty."""
    if len(options) == 1:
        return options[0]
    texts = [o.shortest for o in options]
    return Alternation("null" if "null" in texts and "" not in texts else min(texts, key=len), options)


def repetition(part: Rule, least: int, most: int | None) -> Repetition:
    """The part, `min_count` to `max_count` times (None: without end)."""
    if least * len(part.shortest) > MAX_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MAX_CHARACTERS} characters.")
    return Repetition(part.shortest * least, part, least, most)


def repeat_until(part: Rule, least: int, most: int | None, tail: Rule) -> Rule:
    """The part `min_count` to `max_count` times (None: without end) and the tail; for parts of any character."""
    turns = repetition(part, least, most)
    return RepeatUntil(_short(turns.shortest + tail.shortest), (turns, tail), turns, tail)


def optional(part: Rule) -> Repetition:
    """The part or nothing."""
    return repetition(part, 0, 1)


def _short(value: str) -> str:
    if len(value) > MAX_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MAX_CHARACTERS} characters.")
    return value
