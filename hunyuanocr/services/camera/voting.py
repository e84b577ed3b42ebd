"""Majority vote over fields that vary between frames of an unchanged scene.

Only results from the same pixels take part in a vote. If the image changes inside a field's box, the new value is used at once
and the vote restarts, so a field that has really changed never keeps its old value.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hunyuanocr.errors import SchemaNotSatisfied
from hunyuanocr.fields.schema.client_schema import coerce
from hunyuanocr.services.camera.change_detection import ChangeMask, any_changed
from hunyuanocr.types import Field, Quad, Result, Task

_DEFAULT_WEIGHT = 0.5  # of a value without confidence, and of a missing value


@dataclass
class _FieldVotes:
    """Values of one field from the same pixels, oldest first."""

    cast: deque[Field]

    def boxes(self) -> Iterator[Quad]:
        return (f.box for f in self.cast if f.box is not None)

    def winner(self) -> Field:
        """Return the value with the largest weight, the newer one on a tie, from the frame with the highest confidence."""
        weights: dict[str | None, float] = {}
        for vote in self.cast:
            weights[vote.value] = weights.get(vote.value, 0.0) + (vote.confidence or _DEFAULT_WEIGHT)
        newest = {vote.value: n for n, vote in enumerate(self.cast)}
        value = max(weights, key=lambda v: (round(weights[v], 6), newest[v]))
        return max((f for f in self.cast if f.value == value), key=lambda f: f.confidence or 0.0)


@dataclass
class FieldVoter:
    """The latest values of one camera's scene; at most `votes` per field take part."""

    votes: int
    _fields: dict[str, _FieldVotes] = field(default_factory=dict)

    def forget(self) -> None:
        """Discard all votes: the task has changed."""
        self._fields.clear()

    def vote(self, result: Result, task: Task, change: ChangeMask | None) -> tuple[Result, dict[str, Any] | None]:
        """Return the result with voted fields, and the fields as read if the vote changed any, else None.

        `change`: difference from the frame that was read before; None if unknown.
        """
        fields = tuple(self._voted(f, change) for f in result.fields)
        self._fields = {f.key: self._fields[f.key] for f in result.fields if f.key in self._fields}
        if all(a is b or a.value == b.value for a, b in zip(fields, result.fields, strict=True)):
            return result, None
        answer = result.answer
        if task.schema is not None:
            try:
                answer = coerce(task.schema, fields)
            except SchemaNotSatisfied:  # the unvoted result is valid: use it
                return result, None
        raw = {f.key: f.value for f in result.fields if f.rows is None}
        return replace(result, fields=fields, answer=answer), raw

    def _voted(self, read: Field, change: ChangeMask | None) -> Field:
        """Return the field after the vote. Rows are not voted, because rows of two results cannot be matched."""
        if read.rows is not None or self.votes == 1:
            return read
        votes = self._fields.get(read.key)
        boxes = [] if votes is None else [*votes.boxes(), *([read.box] if read.box else [])]
        if votes is None or any_changed(change, boxes):
            votes = self._fields[read.key] = _FieldVotes(deque(maxlen=self.votes))
        votes.cast.append(read)
        return votes.winner()
