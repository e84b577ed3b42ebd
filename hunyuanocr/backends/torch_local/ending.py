"""The shortest rest of a text that a grammar's rules began. All ways through the rules are followed at once."""

from __future__ import annotations

from collections.abc import Sequence

from hunyuanocr.backends.torch_local.rules import Chars, Choice, Repeat, Rule, Series, Text
from hunyuanocr.errors import ReaderFailed


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
