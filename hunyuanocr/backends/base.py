"""The two Protocols that carry every reader: Backend reads pages, Generator is a language model's engine. Knows layer 1 only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.types import Page, Progress, Reading, Task, TaskKind, TextDelta, Usage


class BackendName(StrEnum):
    """The closed list of readers; `auto` chooses among them."""

    TORCH = "torch"
    VLLM = "vllm"
    PPOCR = "ppocr"
    AUTO = "auto"


@dataclass(frozen=True)
class Health:
    """Whether the reader can answer now, and one plain sentence about it; `restarts` of an engine that is a child of ours."""

    ready: bool
    detail: str
    restarts: int = 0


class Backend(Protocol):
    """A reader of pages: what the pipeline knows."""

    name: BackendName
    model: str
    tasks: frozenset[TaskKind]

    async def start(self) -> None:
        """Load and warm up; `/ready` turns green after it. Raises a HunyuanOcrError that says what is missing."""

    def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        """Yield deltas (none, for a reader that writes all at once) and, of several pages, how many have been read; then exactly
        one Reading. Leave by `aclosing` to cancel.
        """

    async def health(self) -> Health:
        """Cheap; called by probes."""

    async def close(self) -> None:
        """Give memory and threads back. May be called twice."""


@dataclass(frozen=True, eq=False)
class Generation:
    """What an engine is asked to write, greedily: pictures, the user's words, and perhaps the form of the answer.

    `images` are uint8 RGB [h, w, 3]. With `schema` (a JSON Schema) the answer is one JSON value of it, without free white
    space; if `max_tokens` end first the engine closes it, or raises OutputTruncated where it cannot. `repetition_penalty`
    counts the prompt's tokens as well.
    """

    images: tuple[NDArray[np.uint8], ...]
    prompt: str
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 4096
    repetition_penalty: float = 1.08


@dataclass(frozen=True)
class Token:
    """One token that was written; the texts of all of them joined are the answer.

    `text` is "" for one that ends within a character of several tokens. `logprob` is the natural logarithm of its probability
    by the model's raw logits. `forced`: the grammar left no choice, so it tells nothing about how sure the model is. `id` is
    -1 for the ending that the engine gives to JSON when the budget ran out.
    """

    id: int
    text: str
    logprob: float
    forced: bool = False


@dataclass(frozen=True)
class TokenChunk:
    """Tokens as they come, and the usage so far. The last chunk has a finish reason ("length": `max_tokens` ended first)."""

    tokens: tuple[Token, ...] = ()
    finish_reason: Literal["stop", "length"] | None = None
    usage: Usage = Usage()


class Generator(Protocol):
    """A language model's engine: pictures and a prompt in, tokens out. Many generations may run at a time."""

    name: BackendName
    model: str

    async def start(self) -> None:
        """Load and warm up. Raises a HunyuanOcrError that says what is missing."""

    def generate(self, request: Generation) -> AsyncIterator[TokenChunk]:
        """Chunks as they are written; leave by `aclosing` to cancel, which frees the engine's memory for the request."""

    async def health(self) -> Health:
        """Cheap; called by probes."""

    async def close(self) -> None:
        """Give memory and threads back. May be called twice."""
