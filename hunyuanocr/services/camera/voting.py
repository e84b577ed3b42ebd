"""Fields that flicker from reading to reading while the picture under them stands still: the majority speaks.

A value is outvoted only by readings of the same pixels. Where the picture has changed in a field's box, the new value stands at
once and the votes begin anew: a field that has really changed is never answered with its old value.
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

_UNSURE = 0.5  # weight of a reading whose reader gives no confidence, or that found nothing


@dataclass
class _FieldVotes:
    """Readings of one field on the same pixels, the oldest first."""

    cast: deque[Field]

    def boxes(self) -> Iterator[Quad]:
        return (f.box for f in self.cast if f.box is not None)

    def winner(self) -> Field:
        """The value with the most weight; of equals the newer. Of its readings the surest."""
        weights: dict[str | None, float] = {}
        for vote in self.cast:
            weights[vote.value] = weights.get(vote.value, 0.0) + (vote.confidence or _UNSURE)
        newest = {vote.value: n for n, vote in enumerate(self.cast)}
        value = max(weights, key=lambda v: (round(weights[v], 6), newest[v]))
        return max((f for f in self.cast if f.value == value), key=lambda f: f.confidence or 0.0)


@dataclass
class FieldVoter:
    """The latest readings of one camera's scene; `votes` of them count."""

    votes: int
    _fields: dict[str, _FieldVotes] = field(default_factory=dict)

    def forget(self) -> None:
        """What is asked for has changed."""
        self._fields.clear()

    def vote(self, result: Result, task: Task, change: ChangeMask | None) -> tuple[Result, dict[str, Any] | None]:
        """The result with its fields voted, and the fields as they were read where the vote changed any, else None.

        `change` is what is different from the frame that was read before; None where that cannot be told.
        """
        fields = tuple(self._voted(f, change) for f in result.fields)
        self._fields = {f.key: self._fields[f.key] for f in result.fields if f.key in self._fields}
        if all(a is b or a.value == b.value for a, b in zip(fields, result.fields, strict=True)):
            return result, None
        answer = result.answer
        if task.schema is not None:
            try:
                answer = coerce(task.schema, fields)
            except SchemaNotSatisfied:  # the reading by itself fits: it is the better answer
                return result, None
        raw = {f.key: f.value for f in result.fields if f.rows is None}
        return replace(result, fields=fields, answer=answer), raw

    def _voted(self, read: Field, change: ChangeMask | None) -> Field:
        """Rows are not voted: which of them belong together in two readings nobody knows."""
        if read.rows is not None or self.votes == 1:
            return read
        votes = self._fields.get(read.key)
        boxes = [] if votes is None else [*votes.boxes(), *([read.box] if read.box else [])]
        if votes is None or any_changed(change, boxes):
            votes = self._fields[read.key] = _FieldVotes(deque(maxlen=self.votes))
        votes.cast.append(read)
        return votes.winner()
