"""Constrained decoding: JSON Schemas as token grammars. Masks of the allowed next tokens; completion of truncated values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np
import torch
import xgrammar
from cachetools import LRUCache
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from hunyuanocr.errors import BackendFailed, InvalidSchema
from hunyuanocr.grammar.ast import Rule
from hunyuanocr.grammar.completion import shortest_completion
from hunyuanocr.grammar.ebnf import to_ebnf
from hunyuanocr.grammar.from_schema import grammar_from_schema
from hunyuanocr.grammar.lengths import longest_string

_CACHE_SIZE = 64


class GrammarCompiler:
    """Compiles schemas for one tokenizer and caches the 64 last used. Thread-safe.

    `vocab_size` is the width of the model's logits, which may exceed the tokenizer's; `stop_ids` end the output.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, vocab_size: int, stop_ids: Sequence[int]) -> None:
        self._stop_ids = frozenset(stop_ids)
        vocabulary = _vocabulary(tokenizer, vocab_size, self._stop_ids)
        self._bytes = vocabulary.decoded_vocab
        self._closing = _mask((token.startswith(b'"') for token in self._bytes), vocab_size)
        self._compiler = xgrammar.GrammarCompiler(vocabulary, max_threads=1, cache_enabled=False)
        self._vocab_size = vocab_size
        self._cache: LRUCache[str, CompiledGrammar] = LRUCache(_CACHE_SIZE)
        self._lock = Lock()

    def compile(self, schema: Mapping[str, Any]) -> CompiledGrammar:
        """Return the grammar of the schema's values. Takes tens of milliseconds. Raises InvalidSchema with the reason."""
        try:
            key = json.dumps(schema, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as e:
            raise InvalidSchema(f"The schema cannot be serialized as JSON: {e}") from e
        with self._lock:
            if key in self._cache:
                return self._cache[key]
        root = grammar_from_schema(schema)
        try:
            compiled = self._compiler.compile_grammar(to_ebnf(root))
        except RuntimeError as e:
            raise InvalidSchema(f"The schema cannot be compiled to a grammar: {str(e).strip()[:200]}") from e
        strings = _StringLengthLimiter(self._bytes, self._closing, longest_string(schema))
        grammar = CompiledGrammar(compiled, root, self._vocab_size, self._stop_ids, strings)
        with self._lock:
            self._cache[key] = grammar
        return grammar


class CompiledGrammar:
    """The grammar of one schema, shared by all sequences that use it."""

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
        """Return the state before the first token."""
        return GrammarState(xgrammar.GrammarMatcher(self._compiled), self._vocab_size, self._stop_ids, replace(self._strings))

    def shortest_completion(self, text: str) -> str:
        """Return the shortest text that completes `text`, the output so far in whole characters; "" if it is complete.

        Raises BackendFailed if `text` is not a prefix of a value of the schema.
        """
        return shortest_completion(self._root, text)


class GrammarState:
    """The position of one sequence in its grammar. `words` is the length of its masks, ceil(vocab_size / 32)."""

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
        """Whether the value is complete and only a stop id may follow, or one was accepted."""
        if self._matcher.is_terminated():
            return True
        if not self._matcher.is_completed():
            return False
        allowed = self._fill(torch.zeros(self.words, dtype=torch.int32))  # a bare number is complete, but more digits may follow
        return allowed == len(self._stop_ids)

    def fill(self, mask: torch.Tensor) -> bool:
        """Write the allowed tokens into `mask`, int32 [words] on the CPU, one bit each. Return whether there is exactly one.

        Must not be called after a stop id was accepted.
        """
        return self._fill(mask) == 1

    def accept(self, token: int) -> None:
        """Advance by one token. Raises BackendFailed if it is not allowed."""
        if not self._matcher.accept_token(token):
            raise BackendFailed(f"The token {token} does not follow the grammar.")
        self._strings.accept(token)

    def _fill(self, mask: torch.Tensor) -> int:
        """Write the allowed tokens into `mask` and return their number."""
        self._matcher.fill_next_token_bitmask(mask.view(1, -1))
        words = mask.numpy()
        words[-1] &= self._last_word  # xgrammar may set bits beyond the vocabulary
        if self._strings.full and (words & self._strings.closing).any():
            words &= self._strings.closing
        return int(np.bitwise_count(words).sum())


@dataclass
class _StringLengthLimiter:
    """Limits the length of JSON strings by counting characters: xgrammar would take a second to compile the limit.

    A string of `max_length` characters is `full`: only `closing` tokens, which begin with a quotation mark, may follow. A string
    may exceed the limit by the length of its last token.
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

    def accept(self, token: int) -> None:
        """Advance by the bytes of a token."""
        for byte in self.tokens[token]:
            if self.escaped:
                self.escaped = False
            elif byte == ord('"'):
                self.inside, self.count = not self.inside, 0
            else:
                self.escaped = self.inside and byte == ord("\\")
                self.count += self.inside and byte & 0xC0 != 0x80  # the first byte of a character, or an escape's


def _mask(allowed: Iterable[bool], vocab_size: int) -> NDArray[np.int32]:
    """Return a bit mask, int32 [words], in xgrammar's layout."""
    bits = np.zeros((vocab_size + 31) // 32 * 32, np.uint8)
    bits[:vocab_size] = np.fromiter(allowed, np.uint8, vocab_size)
    return np.packbits(bits, bitorder="little").view("<i4")


def _vocabulary(tokenizer: PreTrainedTokenizerFast, vocab_size: int, stop_ids: frozenset[int]) -> xgrammar.TokenizerInfo:
    """Return the bytes of every token. Special tokens get none, otherwise their names would be allowed inside strings."""
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
