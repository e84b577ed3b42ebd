"""The shortest completion of a text that follows a grammar. All paths through the rules are followed at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from hunyuanocr.errors import BackendFailed
from hunyuanocr.grammar.ast import Alternation, CharClass, Concat, Literal, Repetition, Rule


def shortest_completion(root: Rule, prefix: str) -> str:
    """Return the shortest text that completes `prefix`; "" if it is complete. Raises BackendFailed if no text completes it."""
    ends, rest = _Matcher(prefix).follow(root, frozenset({0}))
    if len(prefix) in ends:
        return ""
    if rest is None:
        raise BackendFailed("The generated text does not follow the grammar.")
    return rest


_Positions = frozenset[int]  # indices into the text
_Match = tuple[_Positions, str | None]  # where a rule may end; its shortest completion if the text ends within it


class _Matcher:
    """One text, matched against the rules. Paths that meet at a position are joined, which keeps the work nearly linear."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[tuple[Rule, _Positions], _Match] = {}

    def follow(self, rule: Rule, starts: _Positions) -> _Match:
        """Return where the rule may end when it starts at any of the positions."""
        if len(self._text) in starts:
            ends, rest = self.follow(rule, starts - {len(self._text)})
            return (ends, _shorter(rest, rule.shortest)) if rule.shortest else (ends | {len(self._text)}, rest)
        if not starts:
            return frozenset(), None
        if isinstance(rule, Literal):
            return self._literal(rule.shortest, starts)
        if isinstance(rule, CharClass):
            codes = ((start, ord(self._text[start])) for start in starts)
            return frozenset(start + 1 for start, code in codes if any(a <= code <= b for a, b in rule.ranges)), None
        if (rule, starts) not in self._known:
            self._known[rule, starts] = self._composed(rule, starts)
        return self._known[rule, starts]

    def _literal(self, value: str, starts: _Positions) -> _Match:
        ends = frozenset(start + len(value) for start in starts if self._text.startswith(value, start))
        cut = [len(self._text) - start for start in starts if start > len(self._text) - len(value)]
        return ends, _shorter(*(value[n:] for n in cut if self._text.endswith(value[:n])))

    def _composed(self, rule: Rule, starts: _Positions) -> _Match:
        if isinstance(rule, Concat):
            return self._concat(rule.parts, starts)
        if isinstance(rule, Alternation):
            matches = [self.follow(option, starts) for option in rule.options]
            return frozenset().union(*(ends for ends, _ in matches)), _shorter(*(rest for _, rest in matches))
        if isinstance(rule, Repetition):
            return self._repetition(rule, starts)
        raise TypeError(f"unknown rule: {rule!r}")

    def _concat(self, parts: Sequence[Rule], positions: _Positions) -> _Match:
        best: str | None = None
        for index, part in enumerate(parts):
            positions, rest = self.follow(part, positions)
            if rest is not None:
                best = _shorter(best, rest + "".join(p.shortest for p in parts[index + 1 :]))
            if not positions:
                break
        return positions, best

    def _repetition(self, rule: Repetition, positions: _Positions) -> _Match:
        best: str | None = None
        ends = set(positions) if rule.min_count == 0 else set()
        count = 0
        while positions and (rule.max_count is None or count < rule.max_count):
            positions, rest = self.follow(rule.part, positions)
            count += 1
            if rest is not None:
                best = _shorter(best, rest + rule.part.shortest * max(0, rule.min_count - count))
            if count >= rule.min_count:
                positions -= ends  # fewer repetitions reached them already
                ends |= positions
        return frozenset(ends), best


def _shorter(*rests: str | None) -> str | None:
    return min((r for r in rests if r is not None), key=len, default=None)
