"""The shortest rest of a text that a grammar's rules began. All ways through the rules are followed at once."""

from __future__ import annotations

from collections.abc import Sequence

from hunyuanocr.errors import BackendFailed
from hunyuanocr.grammar.ast import Alternation, CharClass, Concat, Literal, Repetition, Rule


def shortest_completion(root: Rule, begun: str) -> str:
    """The shortest text that makes `begun` an answer; "" if it is one. Raises ReaderFailed if `begun` begins none."""
    ends, rest = _Walk(begun).follow(root, frozenset({0}))
    if len(begun) in ends:
        return ""
    if rest is None:
        raise BackendFailed("The text so far does not follow the grammar.")
    return rest


_Places = frozenset[int]  # indices into the text
_Found = tuple[_Places, str | None]  # where a rule may have ended; the shortest rest of it where the text ends within it


class _Walk:
    """One text, followed through the rules. Ways that meet at a place go on as one, which keeps the work near linear."""

    def __init__(self, begun: str) -> None:
        self._text = begun
        self._known: dict[tuple[Rule, _Places], _Found] = {}

    def follow(self, rule: Rule, starts: _Places) -> _Found:
        """Where the rule may end when it begins at any of the places."""
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

    def _literal(self, value: str, starts: _Places) -> _Found:
        ends = frozenset(start + len(value) for start in starts if self._text.startswith(value, start))
        cut = [len(self._text) - start for start in starts if start > len(self._text) - len(value)]
        return ends, _shorter(*(value[n:] for n in cut if self._text.endswith(value[:n])))

    def _composed(self, rule: Rule, starts: _Places) -> _Found:
        if isinstance(rule, Concat):
            return self._series(rule.parts, starts)
        if isinstance(rule, Alternation):
            found = [self.follow(option, starts) for option in rule.options]
            return frozenset().union(*(ends for ends, _ in found)), _shorter(*(rest for _, rest in found))
        if isinstance(rule, Repetition):
            return self._repeat(rule, starts)
        raise TypeError(f"no rule: {rule!r}")

    def _series(self, parts: Sequence[Rule], at: _Places) -> _Found:
        best: str | None = None
        for index, part in enumerate(parts):
            at, rest = self.follow(part, at)
            if rest is not None:
                best = _shorter(best, rest + "".join(p.shortest for p in parts[index + 1 :]))
            if not at:
                break
        return at, best

    def _repeat(self, rule: Repetition, at: _Places) -> _Found:
        best: str | None = None
        ends = set(at) if rule.min_count == 0 else set()
        count = 0
        while at and (rule.max_count is None or count < rule.max_count):
            at, rest = self.follow(rule.part, at)
            count += 1
            if rest is not None:
                best = _shorter(best, rest + rule.part.shortest * max(0, rule.min_count - count))
            if count >= rule.min_count:
                at -= ends  # reached before by fewer turns: a part that may be empty must not turn for ever
                ends |= at
        return frozenset(ends), best


def _shorter(*rests: str | None) -> str | None:
    return min((r for r in rests if r is not None), key=len, default=None)
