"""The state of one generation request in the engine."""

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
"""Receives chunks, the last one with a finish reason, or one error. Called on the engine's thread; must not block."""


@dataclass(eq=False)
class Sequence:
    """A prompt, its sampling parameters, and the output so far. After `Engine.submit` only the engine's thread may use it."""

    prompt: Prompt
    max_tokens: int
    penalty: float
    tokenizer: Tokenizer
    on_output: Sink
    grammar: CompiledGrammar | None = None
    slot: int = -1  # row in BatchState; -1 without one
    kv_start: int = -1  # first token of its span in the KV cache; -1 without one
    num_scheduled: int = 0  # output tokens that the device has computed or was given to compute
    num_generated: int = 0  # output tokens that the host has received
    done: bool = False

    def __post_init__(self) -> None:
        self._grammar_state: GrammarState | None = self.grammar.new_state() if self.grammar else None
        self._detokenizer = DecodeStream(skip_special_tokens=True)
        self._text: list[str] = []
        self._forced = False
        self.mask: Tensor | None = None  # the tokens that the grammar allows next, int32 [words]; None without a grammar
        if self._grammar_state is not None:
            pinned = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
            self.mask = torch.empty(self._grammar_state.words, dtype=torch.int32, pin_memory=pinned)

    @property
    def max_length(self) -> int:
        """Number of prompt tokens and output tokens at most."""
        return len(self.prompt.ids) + self.max_tokens

    @property
    def context_len(self) -> int:
        """Number of tokens that the newest scheduled token is computed from: the prompt and all earlier output tokens."""
        return len(self.prompt.ids) + self.num_scheduled - 1

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(len(self.prompt.ids), self.num_generated)

    def fill_mask(self) -> None:
        """Write the tokens that the grammar allows next into `mask`. Without a grammar do nothing."""
        if self._grammar_state is not None and self.mask is not None:
            self._forced = self._grammar_state.fill(self.mask)

    def append_token(self, token: int, logprob: float, stop_ids: frozenset[int]) -> None:
        """Append a sampled token, send its text, and finish if it was the last.

        Raises BackendFailed if the grammar does not allow the token, and whatever the tokenizer raises for invalid bytes.
        """
        self.num_generated += 1
        if token in stop_ids:
            self.finish("stop")
            return
        text = self._detokenizer.step(self.tokenizer, token) or ""
        forced = self._forced
        if self._grammar_state is not None:
            self._grammar_state.accept(token)
            self._text.append(text)
        self.on_output(TokenChunk((Token(token, text, logprob, forced),), usage=self.usage))
        if self._grammar_state is not None and self._grammar_state.finished:
            self.finish("stop")
        elif self.num_generated >= self.max_tokens:
            self.finish("length")

    def finish(self, reason: str) -> None:
        """Send the last chunk. Truncated JSON is closed with its shortest valid completion.

        Raises BackendFailed if the text so far has no completion.
        """
        rest = self.grammar.shortest_completion("".join(self._text)) if self.grammar is not None and reason == "length" else ""
        self.done = True  # only now: if there is no completion, `fail` must still report the error
        tokens = (Token(-1, rest, 0.0, forced=True),) if rest else ()
        self.on_output(TokenChunk(tokens, "stop" if reason == "stop" else "length", self.usage))

    def fail(self, error: HunyuanOcrError) -> None:
        """Finish with an error, unless already finished."""
        if not self.done:
            self.done = True
            self.on_output(error)
