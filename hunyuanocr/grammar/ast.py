"""A grammar as a graph of rules: `ebnf` prints it for xgrammar, `completion` completes a text with it.

Rules are compared by identity and shared. The graph has no cycles, so that every text can be completed.
"""

from __future__ import annotations

from dataclasses import dataclass

from hunyuanocr.errors import InvalidSchema

MAX_CHARACTERS = 20_000  # of the shortest answer; the token budget of an answer is smaller
_EXPENSIVE = 1000  # characters of a class


@dataclass(frozen=True, eq=False)
class Rule:
    """A set of texts; `shortest` is the shortest of them."""

    shortest: str

    @property
    def is_expensive(self) -> bool:
        """Whether the rule matches one of very many characters: xgrammar tests the whole vocabulary for each occurrence."""
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
        """Whether the ranges have very many characters."""
        return sum(last - first for first, last in self.ranges) > _EXPENSIVE


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
        """Whether one of the options is expensive."""
        return any(option.is_expensive for option in self.options)


@dataclass(frozen=True, eq=False)
class Repetition(Rule):
    """The part, `min_count` to `max_count` times (None: unbounded)."""

    part: Rule
    min_count: int
    max_count: int | None


@dataclass(frozen=True, eq=False)
class RepeatUntil(Concat):
    """`repeated` and then `tail`: a Concat that `ebnf` prints in another form, for parts that match any character."""

    repeated: Repetition
    tail: Rule


def literal(value: str) -> Literal:
    """Return the rule of exactly this text. Raises InvalidSchema for an unpaired surrogate, which cannot be encoded."""
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise InvalidSchema("The schema contains an unpaired surrogate.") from e
    return Literal(_limit_length(value))


def char_class(shortest: str, *ranges: tuple[int, int]) -> CharClass:
    """Return the rule of one character of the ranges; `shortest` is the one that completes a text."""
    return CharClass(shortest, ranges)


def digit(first: int, last: int) -> CharClass:
    """Return the rule of one digit, first…last."""
    return char_class(str(first), (48 + first, 48 + last))


def concat(*parts: Rule) -> Rule:
    """Return the parts one after another."""
    return parts[0] if len(parts) == 1 else Concat(_limit_length("".join(p.shortest for p in parts)), parts)


def alternation(*options: Rule) -> Rule:
    """Return a rule for one of the options. Its shortest text is `null` if that is an option: an unread value is not empty."""
    if len(options) == 1:
        return options[0]
    texts = [o.shortest for o in options]
    return Alternation("null" if "null" in texts and "" not in texts else min(texts, key=len), options)


def repetition(part: Rule, min_count: int, max_count: int | None) -> Repetition:
    """Return the part, `min_count` to `max_count` times (None: unbounded)."""
    return Repetition(part.shortest * min_count, part, min_count, max_count)


def repeat_until(part: Rule, max_count: int | None, tail: Rule) -> Rule:
    """Return the part, at most `max_count` times (None: unbounded), and the tail; for parts that match any character."""
    repeated = repetition(part, 0, max_count)
    return RepeatUntil(tail.shortest, (repeated, tail), repeated, tail)


def optional(part: Rule) -> Repetition:
    """Return the part or nothing."""
    return repetition(part, 0, 1)


def _limit_length(value: str) -> str:
    if len(value) > MAX_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MAX_CHARACTERS} characters.")
    return value
