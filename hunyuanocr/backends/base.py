"""The two protocols of OCR engines: Backend recognises pages, Generator is the inference engine of a language model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hunyuanocr.errors import TaskNotSupported
from hunyuanocr.types import Page, Progress, Reading, Task, TaskKind, TextDelta, Usage


class BackendName(StrEnum):
    """The backends; `auto` selects one of them, never the fake one."""

    TORCH = "torch"
    VLLM = "vllm"
    PPOCR = "ppocr"
    FAKE = "fake"
    AUTO = "auto"


@dataclass(frozen=True)
class Health:
    """Whether a backend is ready, and one sentence about it; `restarts` counts those of an engine in a child process."""

    ready: bool
    detail: str
    restarts: int = 0


class Backend(Protocol):
    """An OCR backend, as the pipeline uses it."""

    name: BackendName
    model: str
    tasks: frozenset[TaskKind]

    @property
    def scripts(self) -> tuple[str, ...]:
        """The scripts that it reads, for example Latin; empty if it is not limited to some."""

    async def start(self) -> None:
        """Load and warm up; `/ready` succeeds afterwards. Raises a HunyuanOcrError that names what is missing."""

    def read(self, pages: Sequence[Page], task: Task) -> AsyncIterator[TextDelta | Progress | Reading]:
        """Yield text deltas (if the backend streams) and progress (of several pages), then exactly one Reading.

        Use it with `contextlib.aclosing`, which cancels the work.
        """

    async def health(self) -> Health:
        """Return the state. Cheap; called by probes."""

    async def close(self) -> None:
        """Release memory and threads. May be called twice."""


CPU_TASKS = frozenset({TaskKind.READ, TaskKind.SPOT, TaskKind.EXTRACT})  # what a backend without a language model can do


def check_task(backend: Backend, kind: TaskKind) -> None:
    """Raise TaskNotSupported, with a hint which backend supports it, if this backend does not."""
    if kind in backend.tasks:
        return
    raise TaskNotSupported(
        f"The backend '{backend.name.value}' does not support the task '{kind.value}'.",
        hint="Start the server with another backend: --backend ppocr or --backend torch."
        if kind in CPU_TASKS
        else f"The task '{kind.value}' requires the HunyuanOCR model: start the server with --backend torch.",
    )


@dataclass(frozen=True, eq=False)
class Generation:
    """A request for text, decoded greedily: images, a prompt, and optionally the schema of the answer.

    `images` are uint8 RGB [h, w, 3]. With `schema` (an answer schema, see `grammar.from_schema`) the answer is one JSON value of
    it, without white space between tokens; an answer that reaches `max_tokens` is completed by the engine, or raises
    OutputTruncated. `repetition_penalty` applies to the tokens of the prompt as well.
    """

    images: tuple[NDArray[np.uint8], ...]
    prompt: str
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 4096
    repetition_penalty: float = 1.08


@dataclass(frozen=True)
class Token:
    """One generated token; the texts of all tokens, joined, are the answer.

    `text` is "" for a token that ends within a character of several tokens. `logprob` is the natural logarithm of its probability
    by the model's raw logits. `forced`: the grammar allowed no other token, so the probability is not a confidence. `id` is -1
    for the text by which the engine completes JSON that reached `max_tokens`.
    """

    id: int
    text: str
    logprob: float
    forced: bool = False


@dataclass(frozen=True)
class TokenChunk:
    """New tokens, and the usage so far. The last chunk has a finish reason ("length": `max_tokens` was reached)."""

    tokens: tuple[Token, ...] = ()
    finish_reason: Literal["stop", "length"] | None = None
    usage: Usage = Usage()


class Generator(Protocol):
    """The inference engine of a language model: images and a prompt in, tokens out. Generations may run concurrently."""

    name: BackendName
    model: str

    async def start(self) -> None:
        """Load and warm up. Raises a HunyuanOcrError that names what is missing."""

    def generate(self, request: Generation) -> AsyncIterator[TokenChunk]:
        """Yield chunks as they are generated. Use it with `contextlib.aclosing`, which cancels and frees the request's memory."""

    async def health(self) -> Health:
        """Return the state. Cheap; called by probes."""

    async def close(self) -> None:
        """Release memory and threads. May be called twice."""
