"""A graph of rules in xgrammar's notation (the EBNF of llama.cpp's grammars)."""

from __future__ import annotations

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.grammar.ast import Alternation, CharClass, Concat, Literal, RepeatUntil, Repetition, Rule

_MAX_EXPENSIVE = 200  # occurrences of any character: each takes about 25 ms to compile with a vocabulary of 120,000 tokens


def to_ebnf(root: Rule) -> str:
    """Return the grammar, one line for each rule that is not a single text or character.

    Raises InvalidSchema for a grammar that would take many seconds to compile.
    """
    printer = _Printer()
    first = f"root ::= {printer.name(root)}"
    if printer.expensive > _MAX_EXPENSIVE:
        raise InvalidSchema("The schema has too many short length limits.", hint="Remove some of its maxLength keywords.")
    return "\n".join([first, *printer.lines])


class _Printer:
    """The lines so far. `expensive` counts the occurrences for which xgrammar tests the whole vocabulary."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.expensive = 0
        self._names: dict[Rule, str] = {}

    def name(self, rule: Rule) -> str:
        """Return the text by which other rules refer to this one."""
        self.expensive += rule.is_expensive
        if isinstance(rule, Literal):
            return f'"{"".join(_escaped(ord(c)) for c in rule.shortest)}"'
        if isinstance(rule, CharClass):
            return f"[{''.join(f'{_escaped(a)}-{_escaped(b)}' if a < b else _escaped(a) for a, b in rule.ranges)}]"
        if rule not in self._names:
            self._names[rule] = self._repeat_until(rule) if isinstance(rule, RepeatUntil) else self._line(self._body(rule))
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
        raise TypeError(f"unknown rule: {rule!r}")

    def _repeat_until(self, rule: RepeatUntil) -> str:
        """Chain one rule per repetition: `{m,n}` of a part that matches any character takes xgrammar 70 ms a token."""
        part, tail, max_count = self.name(rule.repeated.part), self.name(rule.tail), rule.repeated.max_count
        if max_count is None:
            return self._line(f"{tail} | {part} r{len(self.lines)}")
        self.expensive += max_count
        last = tail
        for _ in range(max_count):
            last = self._line(f"{tail} | {part} {last}")
        return last


def _escaped(code: int) -> str:
    character = chr(code)
    if character.isascii() and character.isalnum():
        return character
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
