"""A grammar as a graph of rules: printed for xgrammar, and able to say the shortest rest of a text that was begun.

Rules are shared by identity and never refer back to themselves, so that everything here ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hunyuanocr.errors import InvalidSchema, ReaderFailed

MOST_CHARACTERS = 20_000  # of the shortest answer; a longer one is no answer that a model could write
_SAMPLES = " 0aA?一"  # what stands for a class of characters when something must, the most harmless first
_HIGHEST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)


@dataclass(frozen=True, eq=False)
class Rule:
    """What may be written; `shortest` is the shortest text of it."""

    shortest: str


@dataclass(frozen=True, eq=False)
class Text(Rule):
    """Exactly the text `shortest`."""


@dataclass(frozen=True, eq=False)
class Chars(Rule):
    """One character of the ranges (first and last code point)."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Series(Rule):
    """The parts one after another."""

    parts: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class Choice(Rule):
    """One of the options."""

    options: tuple[Rule, ...]


@dataclass(frozen=True, eq=False)
class Repeat(Rule):
    """The part, `least` to `most` times (None: without end)."""

    part: Rule
    least: int
    most: int | None


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


def optional(part: Rule) -> Repeat:
    """The part or nothing."""
    return repeat(part, 0, 1)


def _short(value: str) -> str:
    if len(value) > MOST_CHARACTERS:
        raise InvalidSchema(f"The shortest answer to the schema has more than {MOST_CHARACTERS} characters.")
    return value


def ebnf(root: Rule) -> str:
    """The grammar in xgrammar's notation, a line for every rule that is no single text or character."""
    names: dict[Rule, str] = {}
    lines: list[str] = []

    def name(rule: Rule) -> str:
        if isinstance(rule, Text):
            return f'"{"".join(_escaped(ord(c)) for c in rule.shortest)}"'
        if isinstance(rule, Chars):
            return f"[{''.join(f'{_escaped(a)}-{_escaped(b)}' if a < b else _escaped(a) for a, b in rule.ranges)}]"
        if rule not in names:
            body = definition(rule)
            names[rule] = f"r{len(names)}"
            lines.append(f"{names[rule]} ::= {body}")
        return names[rule]

    def definition(rule: Rule) -> str:
        if isinstance(rule, Series):
            return " ".join(name(p) for p in rule.parts)
        if isinstance(rule, Choice):
            return " | ".join(name(o) for o in rule.options)
        if isinstance(rule, Repeat):
            return f"{name(rule.part)}{{{rule.least},{'' if rule.most is None else rule.most}}}"
        raise TypeError(f"no rule: {rule!r}")

    return "\n".join([f"root ::= {name(root)}", *lines])


def _escaped(code: int) -> str:
    character = chr(code)
    if character.isascii() and character.isalnum():
        return character
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def shortest_rest(root: Rule, begun: str) -> str:
    """The shortest text that makes `begun` an answer; "" if it is one. Raises ReaderFailed if `begun` begins none."""
    ends, rest = _Walk(begun).follow(root, 0)
    if len(begun) in ends:
        return ""
    if rest is None:
        raise ReaderFailed("The text so far does not follow the grammar.")
    return rest


_Found = tuple[set[int], str | None]  # where a rule may have ended in the text; the shortest rest where the text ends within it


class _Walk:
    """One text, followed through the rules by all ways at once."""

    def __init__(self, begun: str) -> None:
        self._text = begun
        self._known: dict[tuple[Rule, int], _Found] = {}

    def follow(self, rule: Rule, start: int) -> _Found:
        if start == len(self._text):
            return ({start}, None) if not rule.shortest else (set(), rule.shortest)
        if isinstance(rule, Text):
            return self._literal(rule.shortest, start)
        if isinstance(rule, Chars):
            code = ord(self._text[start])
            return ({start + 1} if any(a <= code <= b for a, b in rule.ranges) else set()), None
        if (rule, start) not in self._known:
            self._known[rule, start] = self._composed(rule, start)
        return self._known[rule, start]

    def _literal(self, value: str, start: int) -> _Found:
        if self._text.startswith(value, start):
            return {start + len(value)}, None
        left = len(self._text) - start
        return set(), value[left:] if left < len(value) and value.startswith(self._text[start:]) else None

    def _composed(self, rule: Rule, start: int) -> _Found:
        if isinstance(rule, Series):
            return self._series(rule.parts, start)
        if isinstance(rule, Choice):
            found = [self.follow(option, start) for option in rule.options]
            return set().union(*(ends for ends, _ in found)), _shorter(*(rest for _, rest in found))
        if isinstance(rule, Repeat):
            return self._repeat(rule, start)
        raise TypeError(f"no rule: {rule!r}")

    def _series(self, parts: Sequence[Rule], start: int) -> _Found:
        at, best = {start}, None
        for index, part in enumerate(parts):
            at, rest = self._step(part, at)
            if rest is not None:
                best = _shorter(best, rest + "".join(p.shortest for p in parts[index + 1 :]))
            if not at:
                break
        return at, best

    def _repeat(self, rule: Repeat, start: int) -> _Found:
        at, best, count = {start}, None, 0
        ends = {start} if rule.least == 0 else set()
        while at and (rule.most is None or count < rule.most):
            at, rest = self._step(rule.part, at)
            count += 1
            if rest is not None:
                best = _shorter(best, rest + rule.part.shortest * max(0, rule.least - count))
            if count >= rule.least:
                at -= ends  # reached before by fewer turns: a part that may be empty must not turn for ever
                ends |= at
        return ends, best

    def _step(self, part: Rule, at: set[int]) -> _Found:
        found = [self.follow(part, position) for position in at]
        return set().union(*(ends for ends, _ in found)), _shorter(*(rest for _, rest in found))


def _shorter(*rests: str | None) -> str | None:
    return min((r for r in rests if r is not None), key=len, default=None)
