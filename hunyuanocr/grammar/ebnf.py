"""A graph of rules in xgrammar's notation (the EBNF of llama.cpp's grammars)."""

from __future__ import annotations

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.grammar.ast import Alternation, CharClass, Concat, Literal, RepeatUntil, Repetition, Rule

_MAX_EXPENSIVE = 200  # places for any character: some 25 ms each to compile with a vocabulary of 120 000


def to_ebnf(root: Rule) -> str:
    """The grammar, a line for every rule that is no single text or character.

    Raises InvalidSchema for one that would take many seconds to compile.
    """
    notation = _Notation()
    first = f"root ::= {notation.name(root)}"
    if notation.wide > _MAX_EXPENSIVE:
        raise InvalidSchema("The schema counts too many characters: leave out maxLength, minLength or pattern somewhere.")
    return "\n".join([first, *notation.lines])


class _Notation:
    """The lines so far. `is_expensive` counts the places of which xgrammar will try the whole vocabulary."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.wide = 0
        self._names: dict[Rule, str] = {}

    def name(self, rule: Rule) -> str:
        """How other rules call this one."""
        self.wide += rule.is_expensive
        if isinstance(rule, Literal):
            return f'"{"".join(_escaped(ord(c)) for c in rule.shortest)}"'
        if isinstance(rule, CharClass):
            return f"[{''.join(f'{_escaped(a)}-{_escaped(b)}' if a < b else _escaped(a) for a, b in rule.ranges)}]"
        if rule not in self._names:
            self._names[rule] = self._until(rule) if isinstance(rule, RepeatUntil) else self._line(self._body(rule))
        return self._names[rule]

    def _line(self, body: str) -> str:
        self.lines.append(f"r{len(self.lines)} ::= {body}")
        return f"r{len(self.lines) - 1}"

    def _body(self, rule: Rule) -> str:
        match rule:
            case Concat():
                return " ".join(self.name(p) for p in rule.parts)
            case Alternation():
                return " | ".join(self.name(o) for o in rule.options)
            case Repetition():
                return f"{self.name(rule.part)}{{{rule.min_count},{'' if rule.max_count is None else rule.max_count}}}"
        raise TypeError(f"no rule: {rule!r}")

    def _until(self, rule: RepeatUntil) -> str:
        """Rules that call the next turn: with `{m,n}` for parts of any character xgrammar takes 70 ms a token."""
        turns = rule.turns
        part, tail = self.name(turns.part), self.name(rule.tail)
        self.wide += turns.min_count if turns.max_count is None else turns.max_count
        last = tail if turns.max_count is not None else self._line(f"{tail} | {part} r{len(self.lines)}")
        for _ in range(0 if turns.max_count is None else turns.max_count - turns.min_count):
            last = self._line(f"{tail} | {part} {last}")
        for _ in range(turns.min_count):
            last = self._line(f"{part} {last}")
        return last


def _escaped(code: int) -> str:
    character = chr(code)
    if character.isascii() and character.isalnum():
        return character
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
