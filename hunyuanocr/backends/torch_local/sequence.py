"""One generation on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from torch import Tensor

from hunyuanocr.backends.base import Token, TokenChunk
from hunyuanocr.backends.torch_local.constrained_decoding import CompiledGrammar, GrammarState
from hunyuanocr.backends.torch_local.processor import Prompt
from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.types import Usage

Sink = Callable[[TokenChunk | HunyuanOcrError], None]
"""Takes chunks, the last one with a finish reason, or one error. Called on the engine's thread; must return at once."""


@dataclass(eq=False)
class Sequence:
    """A request, where it stands, and what it has written. Only the engine's thread touches it once it is submitted."""

    prompt: Prompt
    max_tokens: int
    penalty: float
    tokenizer: Tokenizer
    on_output: Sink
    grammar: CompiledGrammar | None = None
    slot: int = -1
    kv_start: int = -1  # of its run in the KV pool
    num_scheduled: int = 0  # tokens that the device was asked for
    num_generated: int = 0  # tokens that the host has seen
    done: bool = False

    def __post_init__(self) -> None:
        self._state: GrammarState | None = self.grammar.new_state() if self.grammar else None
        self._stream = DecodeStream(skip_special_tokens=True)
        self._text: list[str] = []
        self._forced = False
        self.mask: Tensor | None = None
        if self._state is not None:
            self.mask = torch.empty(self._state.words, dtype=torch.int32, pin_memory=torch.cuda.is_initialized())  # type: ignore[no-untyped-call]

    @property
    def length(self) -> int:
        """Most tokens that it may come to."""
        return len(self.prompt.ids) + self.max_tokens

    @property
    def context_len(self) -> int:
        """Tokens that the next launched one sees, itself included: the prompt, and all that were launched but the last."""
        return len(self.prompt.ids) + self.num_scheduled

    @property
    def usage(self) -> Usage:
        """What it took so far."""
        return Usage(len(self.prompt.ids), self.num_generated)

    def fill_mask(self) -> None:
        """Write what the grammar allows next into `mask`."""
        if self._state is not None and self.mask is not None:
            self._forced = self._state.fill(self.mask)

    def append_token(self, token: int, logprob: float, stop_ids: frozenset[int]) -> None:
        """A token from the device: hand its text on, and see whether it was the last."""
        self.num_generated += 1
        if token in stop_ids:
            self.finish("stop")
            return
        piece = self._stream.step(self.tokenizer, token) or ""
        forced = self._forced
        if self._state is not None:
            self._state.accept(token)
            self._text.append(piece)
        self.on_output(TokenChunk((Token(token, piece, logprob, forced),), usage=self.usage))
        if self._state is not None and self._state.finished:
            self.finish("stop")
        elif self.num_generated >= self.max_tokens:
            self.finish("length")

    def finish(self, reason: str) -> None:
        """Send the last chunk; JSON that ran out of budget is closed by its shortest legal ending."""
        rest = self.grammar.shortest_completion("".join(self._text)) if self.grammar is not None and reason == "length" else ""
        self.done = True  # not before: where no ending is found, `fail` must tell it
        ending = (Token(-1, rest, 0.0, forced=True),) if rest else ()
        self.on_output(TokenChunk(ending, "stop" if reason == "stop" else "length", self.usage))

    def fail(self, error: HunyuanOcrError) -> None:
        """End it with an error."""
        if not self.done:
            self.done = True
            self.on_output(error)
