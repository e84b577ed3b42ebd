"""The Protocol that every reader fulfils. Knows layer 1 only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hunyuanocr.types import Page, Reading, Task, TaskKind, TextDelta


class BackendName(StrEnum):
    """The closed list of readers; `auto` chooses among them."""

    TORCH = "torch"
    VLLM = "vllm"
    PPOCR = "ppocr"
    AUTO = "auto"


@dataclass(frozen=True)
class Health:
    """Whether the reader can answer now, and one plain sentence about it."""

    ready: bool
    detail: str


class Backend(Protocol):
    """A reader of pages: what the pipeline knows."""

    name: BackendName
    model: str
    tasks: frozenset[TaskKind]

    async def start(self) -> None:
        """Load and warm up; `/ready` turns green after it. Raises a HunyuanOcrError that says what is missing."""

    def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Reading]:
        """Yield deltas (none, for a reader that writes all at once), then exactly one Reading. Leave by `aclosing` to cancel."""

    async def health(self) -> Health:
        """Cheap; called by probes."""

    async def close(self) -> None:
        """Give memory and threads back. May be called twice."""
