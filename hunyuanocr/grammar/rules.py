"""A grammar as a graph of rules, which `notation` prints for xgrammar and of which `ending` finds the rest of a text.

Rules are shared by identity and never refer back to themselves, so that whatever follows them ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hunyuanocr.errors import InvalidSchema

MOST_CHARACTERS = 20_000  # of the shortest answer; a longer one is no answer that a model could write
_SAMPLES = " 0aA?一"  # what stands for a class of characters when something must, the most harmless first
_WIDE = 1000
_HIGHEST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


@dataclass(frozen=True, eq=False)
class Rule:
    """What may be written; `shortest` is the shortest text of it."""

    shortest: str

    @property
    def wide(self) -> bool:
        """Whether it is one of very many characters, for each occurrence of which xgrammar tries the whole vocabulary."""
        return False


@dataclass(frozen=True, eq=False)
class Text(Rule):
    """Exactly the text `shortest`."""


@dataclass(frozen=True, eq=False)
class Chars(Rule):
    """One character of the ranges (first and last code point)."""

    ranges: tuple[tuple[int, int], ...]

    @property
    def wide(self) -> bool:
        """Whether the ranges are of very many characters."""
        return sum(b - a for a, b in self.ranges) > _WIDE


@dataclass(frozen=True, eq=False)
class Series(Rule):
    """The parts one after another."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class Choice(Rule):
    """One of the options."""

    options: tuple[Rule, ...]

    @property
    def wide(self) -> bool:
        """Whether an option is."""
        return any(option.wide for option in self.options)


@dataclass(frozen=True, eq=False)
class Repeat(Rule):
    """The part, `least` to `most` times (None: without end)."""

    part: Rule
    least: int
    most: int | None


@dataclass(frozen=True, eq=False)
class Until(Series):
    """`turns` and the tail that ends them: a Series that is printed otherwise, for parts of any character."""

    turns: Repeat
    tail: Rule


def text(value: str) -> Text:
    """Exactly this text. Raises InvalidSchema for half of a surrogate pair, which is no character."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InvalidSchema("The schema holds half of a surrogate pair, which is no character.") from e
    return Text(_short(value))


def chars(ranges: Iterable[tuple[int, int]]) -> Chars | None:
    """One character of the ranges, surrogates left out; None if there is none."""
    kept = _without(sorted(ranges), _SURROGATES)
    if not kept:
        return None
    sample = next((c for c in _SAMPLES if any(a <= ord(c) <= b for a, b in kept)), chr(kept[0][0]))
    return Chars(sample, tuple(kept))


def digit(first: int, last: int) -> Chars:
    """One digit, first…last."""
    return Chars(str(first), ((48 + first, 48 + last),))


def complement(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """All code points outside of the ranges."""
    rest = [(0, _HIGHEST)]
    for taken in ranges:
        rest = _without(rest, taken)
    return rest


def _without(ranges: Sequence[tuple[int, int]], taken: tuple[int, int]) -> list[tuple[int, int]]:
    cut = [part for a, b in ranges for part in ((a, min(b, taken[0] - 1)), (max(a, taken[1] + 1), b))]
    return list(dict.fromkeys((a, b) for a, b in cut if a <= b))


def series(*parts: Rule) -> Rule:
    """The parts one after another."""
    return parts[0] if len(parts) == 1 else Series(_short("".join(p.shortest for p in parts)), parts)


def choice(*options: Rule) -> Rule:
    """One of at least one options. Its shortest text is `null` where that is one: a value that was not read is not empty."""
    if len(options) == 1:
        return options[0]
    texts = [o.shortest for o in options]
    return Choice("null" if "null" in texts and "" not in texts else min(texts, key=len), options)


def repeat(part: Rule, least: int, most: int | None) -> Repeat:
    """The part, `least` to `most` times (None: without end)."""
    if least * len(part.shortest) > MOST_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MOST_CHARACTERS} characters.")
    return Repeat(part.shortest * least, part, least, most)


def until(part: Rule, least: int, most: int | None, tail: Rule) -> Rule:
    """The part `least` to `most` times (None: without end) and the tail; for parts of any character."""
    turns = repeat(part, least, most)
    return Until(_short(turns.shortest + tail.shortest), (turns, tail), turns, tail)


def optional(part: Rule) -> Repeat:
    """The part or nothing."""
    return repeat(part, 0, 1)


def _short(value: str) -> str:
    if len(value) > MOST_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MOST_CHARACTERS} characters.")
    return value
