"""JSON Schemas as grammars of an engine's tokens: which tokens may come next, and the rest of a value that was cut short."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
import xgrammar
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hunyuanocr.errors import BackendFailed, InvalidSchema
from hunyuanocr.grammar.ast import Rule
from hunyuanocr.grammar.completion import shortest_completion
from hunyuanocr.grammar.ebnf import to_ebnf
from hunyuanocr.grammar.from_schema import grammar_from_schema
from hunyuanocr.grammar.lengths import longest_string

_KEPT = 64


class GrammarCompiler:
    """Compiles schemas for one tokenizer; thread-safe, keeps the last 64.

    `vocab_size` is the width of the model's logits, which may exceed the tokenizer; `stop_ids` end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocab_size: int, stop_ids: Sequence[int]) -> None:
        self._stop_ids = frozenset(stop_ids)
        vocabulary = _vocabulary(tokenizer, vocab_size, self._stop_ids)
        self._bytes = vocabulary.decoded_vocab
        self._closing = _mask((token.startswith(b'"') for token in self._bytes), vocab_size)
        self._compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=1, cache_enabled=False)
        self._vocab_size = vocab_size
        self._kept: OrderedDict[str, CompiledGrammar] = OrderedDict()
        self._lock = Lock()

    def compile(self, schema: Mapping[str, Any]) -> CompiledGrammar:
        """The grammar of the schema's values, for worker threads (tens of ms). Raises InvalidSchema with the reason."""
        try:
            key = json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as e:
            raise InvalidSchema(f"The schema is no JSON: {e}") from e
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        root = grammar_from_schema(schema)
        try:
            compiled = self._compiler.compile_grammar(to_ebnf(root))
        except RuntimeError as e:
            raise InvalidSchema(f"The schema cannot be made a grammar: {str(e).strip()[:200]}") from e
        strings = _StringLengthLimiter(self._bytes, self._closing, longest_string(schema))
        grammar = CompiledGrammar(compiled, root, self._vocab_size, self._stop_ids, strings)
        with self._lock:
            self._kept[key] = grammar
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return grammar


class CompiledGrammar:
    """The grammar of one schema, shared by all answers to it."""

    def __init__(
        self,
        compiled: xgrammar.CompiledGrammar,
        root: Rule,
        vocab_size: int,
        stop_ids: frozenset[int],
        strings: _StringLengthLimiter,
    ) -> None:
        self._compiled = compiled
        self._strings = strings
        self._root = root
        self._vocab_size = vocab_size
        self._stop_ids = stop_ids

    def new_state(self) -> GrammarState:
        """The state before the first token."""
        return GrammarState(xgrammar.GrammarMatcher(self._compiled), self._vocab_size, self._stop_ids, replace(self._strings))

    def shortest_completion(self, text: str) -> str:
        """The shortest rest after `text`, the answer so far in complete characters; "" if it is complete.

        Raises ReaderFailed if the text does not begin an answer.
        """
        return shortest_completion(self._root, text)


class GrammarState:
    """Where one answer stands. `words` is the length of its masks, ceil(vocab_size / 32)."""

    def __init__(
        self, matcher: xgrammar.GrammarMatcher, vocab_size: int, stop_ids: frozenset[int], strings: _StringLengthLimiter
    ) -> None:
        self._matcher = matcher
        self._strings = strings
        self._stop_ids = stop_ids
        self.words = (vocab_size + 31) // 32
        self._last_word = np.int32((1 << vocab_size % 32) - 1 if vocab_size % 32 else -1)

    @property
    def finished(self) -> bool:
        """The value is complete and only a stop id may follow, or one was accepted."""
        if self._matcher.is_terminated():
            return True
        if not self._matcher.is_completed():
            return False
        allowed = self._filled(torch.zeros(self.words, dtype=torch.int32))  # a bare number is complete, and yet may go on
        return allowed == len(self._stop_ids)

    def fill(self, mask: torch.Tensor) -> bool:
        """Write the allowed tokens into `mask`, int32 [words] on the CPU, a bit each; True when there is exactly one.

        Not after a stop id was accepted.
        """
        return self._filled(mask) == 1

    def accept(self, token: int) -> None:
        """Go on by one token. Raises ReaderFailed if it is not allowed."""
        if not self._matcher.accept_token(token):
            raise BackendFailed(f"The token {token} does not follow the grammar.")
        self._strings.follow(token)

    def _filled(self, mask: torch.Tensor) -> int:
        """Write the allowed tokens into `mask` and count them."""
        self._matcher.fill_next_token_bitmask(mask.view(1, -1))
        words = mask.numpy()
        words[-1] &= self._last_word  # xgrammar may set the bits beyond the vocabulary
        if self._strings.full and (words & self._strings.closing).any():
            words &= self._strings.closing
        return int(np.bitwise_count(words).sum())


@dataclass
class _StringLengthLimiter:
    """How far an answer is in a string of JSON: xgrammar takes a second to compile a limit that we can count ourselves.

    A string of `max_length` characters is `full`: it may only be closed (`closing`: tokens that begin with a quotation mark). The
    last token may have run over by its length.
    """

    tokens: Sequence[bytes]
    closing: NDArray[np.int32]
    max_length: int
    inside: bool = False
    escaped: bool = False
    count: int = 0

    @property
    def full(self) -> bool:
        return self.inside and self.count >= self.max_length

    def follow(self, token: int) -> None:
        """Go on by a token's bytes."""
        for byte in self.tokens[token]:
            if self.escaped:
                self.escaped = False
            elif byte == ord('"'):
                self.inside, self.count = not self.inside, 0
            else:
                self.escaped = self.inside and byte == ord("\\")
                self.count += self.inside and byte & 0xC0 != 0x80  # the first byte of a character, or an escape's


def _mask(allowed: Iterable[bool], vocab_size: int) -> NDArray[np.int32]:
    """A bit for each token, int32 [words], as xgrammar lays them out."""
    bits = np.zeros((vocab_size + 31) // 32 * 32, np.uint8)
    bits[:vocab_size] = np.fromiter(allowed, np.uint8, vocab_size)
    return np.packbits(bits, bitorder="little").view("<i4")


def _vocabulary(tokenizer: PreTrainedTokenizerFast, vocab_size: int, stop_ids: frozenset[int]) -> xgrammar.TokenizerInfo:
    """The bytes of every token. Special tokens have none, or their names could be written within strings."""
    stops = sorted(stop_ids)
    named = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size, stop_token_ids=stops)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special} | set(tokenizer.all_special_ids)
    decoded = [b"" if i in special else token for i, token in enumerate(named.decoded_vocab)]
    return xgrammar.TokenizerInfo(
        decoded,
        xgrammar.VocabType.RAW,
        vocab_size=vocab_size,
        stop_token_ids=stops,
        add_prefix_space=named.add_prefix_space,
    )
