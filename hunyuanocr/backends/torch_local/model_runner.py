"""Forward passes, sampling and token read-back: eager on any device, with flash attention and CUDA graphs where they work."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Sized
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import Attention, FlashAttention, SdpaAttention
from hunyuanocr.backends.torch_local.batch_state import BatchState
from hunyuanocr.backends.torch_local.cuda_graphs import CudaGraphs
from hunyuanocr.backends.torch_local.kv_cache import BLOCK_SIZE
from hunyuanocr.backends.torch_local.loader import LoadedModel
from hunyuanocr.backends.torch_local.prefill import PromptPrefill
from hunyuanocr.backends.torch_local.sequence import Sequence

log = logging.getLogger(__name__)

_TRIAL_TOKENS = 200  # per prompt of the trial step; less than BLOCK_SIZE
_MAX_LOGIT_ERROR = 0.05  # relative to the largest logit: rounding errors are far smaller, those of a wrong kernel far larger


class SampledToken(NamedTuple):
    """A token of a sequence and its natural log-probability under the raw logits; NaN after an overflow."""

    sequence: Sequence
    token: int
    logprob: float


class ModelRunner:
    """Owns the device state. `prefill` runs a prompt in chunks; `forward`, `sample` and `read_tokens` run a decode step.

    `asynchronous`: calls launch kernels and return, so the tokens of a step are read after the `forward` of the next one.
    """

    @torch.no_grad()
    def __init__(self, model: LoadedModel, max_num_seqs: int, *, graphs: bool) -> None:
        self.model = model
        self.device = model.device
        self.asynchronous = self.device.type == "cuda"
        self.batch_state = BatchState(max_num_seqs, model.vocabulary, self.device)
        self.attention: Attention = SdpaAttention(model.kv_cache)
        self.graphs: CudaGraphs | None = None
        self._readback = TokenReadback(self.batch_state)
        self._prefill: PromptPrefill | None = None
        self._batch: list[tuple[Sequence, int]] = []  # sequences and slots of the last `forward`
        self._logits: Tensor | int = 0  # of the last `forward`; with CUDA graphs the batch size of the graph that holds them
        self._pending: list[tuple[Sequence, int]] = []  # sequences and slots whose tokens are on their way to the host
        if self.asynchronous:
            self._enable_fast_kernels(graphs)

    @property
    def has_pending_tokens(self) -> bool:
        """Whether tokens were sampled that `read_tokens` has not returned yet."""
        return bool(self._pending)

    def prefill(self, sequence: Sequence, chunk: int) -> SampledToken | None:
        """Run one chunk of a prompt: some vision layers, or `chunk` tokens. After the last one return the first output token.

        Waits for that token. One prompt at a time: a call with another sequence drops the unfinished one.
        """
        if self._prefill is None or self._prefill.sequence is not sequence:
            self._prefill = PromptPrefill(self.model, self.attention, sequence)
        hidden = self._prefill.step(chunk)
        if hidden is None:
            return None
        ids, self._prefill = self._prefill.ids, None
        self.batch_state.add(sequence.slot, ids, sequence.kv_start, sequence.penalty)
        self.update_mask(sequence)
        slots = torch.tensor([sequence.slot], device=self.device)
        self.batch_state.sample(slots, self.model.decoder.logits(hidden[None]), sequence.mask is not None)
        self._readback.start()
        ((token, logprob),) = self._readback.receive([sequence.slot])
        return SampledToken(sequence, token, logprob)

    def cancel_prefill(self, sequence: Sequence) -> None:
        """Drop the activations of this sequence's prompt, if it is in prefill."""
        if self._prefill is not None and self._prefill.sequence is sequence:
            self._prefill = None

    def forward(self, batch: Sized[Sequence]) -> None:
        """Launch the computation of the next token's logits of each sequence."""
        self._batch = [(s, s.slot) for s in batch]  # a sequence may lose its slot before `sample`
        slots = [s.slot for s in batch]
        if self.graphs is not None:
            self._logits = self.graphs.forward(slots)
        else:
            spans = [(s.kv_start, s.context_len) for s in batch]
            self._logits = self.decode_logits(torch.tensor(slots, device=self.device), spans)

    def sample(self) -> None:
        """Launch the sampling from these logits and the copy of the tokens to the host."""
        if self.graphs is not None and isinstance(self._logits, int):
            self.graphs.sample(self._logits)
        elif isinstance(self._logits, Tensor):
            slots = torch.tensor([slot for _, slot in self._batch], device=self.device)
            constrained = any(s.mask is not None for s, _ in self._batch)
            self.batch_state.sample(slots, self._logits, constrained)
        self._readback.start()
        self._pending, self._batch = self._batch, []

    def read_tokens(self) -> list[SampledToken]:
        """Wait for the tokens of the last `sample` and return them; empty if they were returned already."""
        pending, self._pending = self._pending, []
        if not pending:
            return []
        received = self._readback.receive([slot for _, slot in pending])
        return [SampledToken(s, token, logprob) for (s, _), (token, logprob) in zip(pending, received, strict=True)]

    def discard_tokens(self) -> None:
        """Forget the tokens of a failed step."""
        self._pending = []

    def update_mask(self, sequence: Sequence) -> None:
        """Copy the tokens that the sequence's grammar allows next to the device. Without a grammar do nothing."""
        if sequence.mask is not None:
            sequence.fill_mask()
            self.batch_state.masks[sequence.slot].copy_(sequence.mask, non_blocking=True)

    def decode_logits(self, slots: Tensor, host_spans: Sized[tuple[int, int]] | None) -> Tensor:
        """Logits [rows, vocabulary] of the next tokens of `slots`, int64 [rows]. `host_spans`: see DecodeBatch."""
        state = self.batch_state
        batch = state.decode_batch(slots, host_spans)
        return self.model.decoder.decode(state.ids[slots], state.positions[slots], self.attention, batch)

    def trial_logits(self) -> Tensor:
        """Logits [rows, vocabulary] of a step on random prompts, prefilled in two chunks into spans in reverse order.

        Overwrites the first two slots and the KV cache: only for use before the first request.
        """
        random = torch.Generator(device="cpu").manual_seed(0)
        decoder = self.model.decoder
        starts = [2 * BLOCK_SIZE, BLOCK_SIZE][: min(2, self.batch_state.num_slots)]
        for slot, start in enumerate(starts):
            ids = torch.randint(len(decoder.embedding), (_TRIAL_TOKENS,), generator=random).to(self.device)
            positions = torch.arange(_TRIAL_TOKENS, device=self.device)
            for chunk in (slice(0, _TRIAL_TOKENS // 2), slice(_TRIAL_TOKENS // 2, _TRIAL_TOKENS)):
                x = F.embedding(ids[chunk], decoder.embedding)
                decoder.prefill(x, positions[None, chunk], self.attention, start, chunk.start)
            self.batch_state.add(slot, ids, start, 1.0)
            self.batch_state.ids[slot] = ids[-1]
        return self.decode_logits(torch.arange(len(starts), device=self.device), [(start, _TRIAL_TOKENS) for start in starts])

    def _enable_fast_kernels(self, graphs: bool) -> None:
        """Use flash attention and CUDA graphs, each only if its logits equal those of the reference kernels on this device."""
        expected = self.trial_logits()
        try:
            self.attention = FlashAttention(self.model.kv_cache, 2 * self.batch_state.num_slots, self.model.max_tokens)
            _require_close(self.trial_logits(), expected)
        except (ImportError, RuntimeError, TypeError, ValueError) as e:
            log.warning("Flash attention is not available (%s). Falling back to slower attention kernels.", e)
            self.attention = SdpaAttention(self.model.kv_cache)
            return
        if graphs:
            self._capture_graphs(expected)

    def _capture_graphs(self, expected: Tensor) -> None:
        state = self.batch_state
        try:
            graphs = CudaGraphs(
                state.num_slots,
                state.num_slots,
                self.device,
                lambda slots: self.decode_logits(slots, None),
                lambda slots, logits: state.sample(slots, logits, True),
            )
            size = graphs.forward(list(range(len(expected))))
            _require_close(graphs.logits(size)[: len(expected)], expected)
            self.graphs = graphs
        except RuntimeError as e:
            log.warning("CUDA graphs are not available (%s). Falling back to slower eager decoding.", e)


def _require_close(actual: Tensor, expected: Tensor) -> None:
    """Raise RuntimeError if the logits differ by more than rounding errors, or are NaN."""
    torch.cuda.synchronize()
    error = float((actual.float() - expected.float()).abs().max() / expected.float().abs().max().clamp_min(1e-6))
    if not error < _MAX_LOGIT_ERROR:  # not `>=`: NaN must fail
        raise RuntimeError(f"relative error of the logits is {error:.2g}")


class TokenReadback:
    """Copies the newest token and log-probability of every slot to pinned host memory while the device continues."""

    def __init__(self, state: BatchState) -> None:
        self._state = state
        self._on_device = state.ids.is_cuda
        if self._on_device:
            self._ids = torch.empty(state.ids.shape, dtype=state.ids.dtype, pin_memory=True)
            self._logprobs = torch.empty(state.logprobs.shape, dtype=state.logprobs.dtype, pin_memory=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        else:
            self._ids, self._logprobs = state.ids, state.logprobs

    def start(self) -> None:
        """Launch the copy."""
        if self._on_device:
            self._ids.copy_(self._state.ids, non_blocking=True)
            self._logprobs.copy_(self._state.logprobs, non_blocking=True)
            self._event.record()

    def receive(self, slots: list[int]) -> list[tuple[int, float]]:
        """Wait for the copy; return (token, log-probability) of each slot."""
        if self._on_device:
            self._event.synchronize()
        return list(zip(self._ids[slots].tolist(), self._logprobs[slots].tolist(), strict=True))
