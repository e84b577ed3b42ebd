"""A plugin of vLLM (entry point group `vllm.general_plugins`): what HunyuanOCR needs on a CPU, and of structured answers strings
that end and probabilities that are the model's own.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

_LIMIT = re.compile(r"# strings (\d+)\n")  # first line of a grammar: how long its strings may be


def register() -> None:
    """Called by vLLM once in each of its processes."""
    from vllm.platforms import current_platform  # noqa: PLC0415 -- loaded by vLLM, which is importing its own parts

    if current_platform.is_cpu():
        _matrices_in_one_piece()
    _strings_that_end()
    _probabilities_of_the_model()


def _matrices_in_one_piece() -> None:
    """oneDNN's product wants rows without gaps; the model's patch merger hands it a permuted tensor."""
    from vllm import _custom_ops  # noqa: PLC0415

    plain = _custom_ops.onednn_mm

    @functools.wraps(plain)
    def in_one_piece(handler: Any, x: Any, bias: Any) -> Any:
        return plain(handler, x.contiguous(), bias)

    _custom_ops.onednn_mm = in_one_piece


def _strings_that_end() -> None:
    """Long limits of strings are counted here, as in our own engine: xgrammar takes a second to compile one.

    And special tokens have no text in grammars, or their names could be written within strings, from which they vanish later.
    """
    from vllm.v1.structured_output.backend_xgrammar import XgrammarBackend  # noqa: PLC0415

    plain_init, plain_compile = XgrammarBackend.__post_init__, XgrammarBackend.compile_grammar

    @functools.wraps(plain_init)
    def init(self: Any) -> None:
        plain_init(self)
        self.compiler, self.token_bytes = _without_special_tokens(self)

    @functools.wraps(plain_compile)
    def compile_grammar(self: Any, request_type: Any, grammar_spec: str, *more: Any, **named: Any) -> Any:
        grammar = plain_compile(self, request_type, grammar_spec, *more, **named)
        found = _LIMIT.match(grammar_spec)
        return _Counted(grammar, self.token_bytes, int(found[1])) if found else grammar

    XgrammarBackend.__post_init__, XgrammarBackend.compile_grammar = init, compile_grammar


def _without_special_tokens(backend: Any) -> tuple[Any, list[bytes]]:
    """vLLM's compiler over a vocabulary in which special tokens are empty, and that vocabulary."""
    import vllm.envs  # noqa: PLC0415
    import xgrammar  # noqa: PLC0415

    tokenizer = backend.tokenizer
    plain = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=backend.vocab_size)
    special = set(tokenizer.all_special_ids) | {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokens = [b"" if i in special else token for i, token in enumerate(plain.decoded_vocab)]
    info = xgrammar.TokenizerInfo(
        tokens,
        xgrammar.VocabType.RAW,
        vocab_size=backend.vocab_size,
        stop_token_ids=plain.stop_token_ids,
        add_prefix_space=plain.add_prefix_space,
    )
    kept = vllm.envs.VLLM_XGRAMMAR_CACHE_MB * 1024 * 1024
    return xgrammar.GrammarCompiler(info, max_threads=8, cache_enabled=True, cache_limit_bytes=kept), tokens


def _probabilities_of_the_model() -> None:
    """vLLM takes a grammar's mask for part of the model's answer, and calls a token certain that had no rival under it.

    Here the sum over all tokens is kept from before the mask, in the first of vLLM's two model runners and without a draft model.
    Whether it holds the appliance sees by its first answer.
    """
    from vllm.v1.sample.sampler import Sampler  # noqa: PLC0415
    from vllm.v1.structured_output import utils  # noqa: PLC0415

    plain_mask, plain_scores = utils.apply_grammar_bitmask, Sampler.compute_logprobs

    @functools.wraps(plain_mask)
    def mask(scheduler_output: Any, grammar_output: Any, input_batch: Any, logits: Any) -> None:
        logits.sum_before_mask = logits.float().logsumexp(-1, keepdim=True)
        plain_mask(scheduler_output, grammar_output, input_batch, logits)

    @functools.wraps(plain_scores)
    def scores(logits: Any) -> Any:
        before = logits.__dict__.pop("sum_before_mask", None)  # of this step only
        return plain_scores(logits) if before is None else logits.float() - before

    utils.apply_grammar_bitmask = mask
    Sampler.compute_logprobs = staticmethod(scores)


class _Counted:
    """A grammar of vLLM's that lets no string of JSON grow longer than `most` characters: a full one may only be closed."""

    def __init__(self, grammar: Any, tokens: Sequence[bytes], most: int) -> None:
        self._grammar, self._tokens, self._most = grammar, tokens, most
        self._closing: Any = None
        self._states = [(False, False, 0)]  # after each token: in a string? after a backslash? characters so far

    def accept_tokens(self, request_id: str, tokens: list[int]) -> bool:
        before = self._grammar.num_processed_tokens
        good: bool = self._grammar.accept_tokens(request_id, tokens)
        for token in tokens[: self._grammar.num_processed_tokens - before]:
            self._states.append(_followed(*self._states[-1], self._tokens[token]))
        return good

    def validate_tokens(self, tokens: list[int]) -> list[int]:
        found: list[int] = self._grammar.validate_tokens(tokens)
        return found

    def rollback(self, num_tokens: int) -> None:
        self._grammar.rollback(num_tokens)
        del self._states[len(self._states) - num_tokens :]

    def fill_bitmask(self, bitmask: Any, idx: int) -> None:
        self._grammar.fill_bitmask(bitmask, idx)
        inside, _, count = self._states[-1]
        if inside and count >= self._most:
            if self._closing is None:
                self._closing = _mask(self._tokens, bitmask.shape[-1])
            kept = bitmask[idx] & self._closing
            if kept.any():
                bitmask[idx] = kept

    def is_terminated(self) -> bool:
        return bool(self._grammar.is_terminated())

    def reset(self) -> None:
        self._grammar.reset()
        del self._states[1:]


def _followed(inside: bool, escaped: bool, count: int, token: bytes) -> tuple[bool, bool, int]:
    for byte in token:
        if escaped:
            escaped = False
        elif byte == ord('"'):
            inside, count = not inside, 0
        else:
            escaped = inside and byte == ord("\\")
            count += inside and byte & 0xC0 != 0x80  # the first byte of a character, or an escape's
    return inside, escaped, count


def _mask(tokens: Sequence[bytes], words: int) -> Any:
    """The tokens that close a string, a bit each, as xgrammar lays them out."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    bits = np.zeros(words * 32, np.uint8)
    bits[: len(tokens)] = [token.startswith(b'"') for token in tokens]
    return torch.from_numpy(np.packbits(bits, bitorder="little").view("<i4"))
