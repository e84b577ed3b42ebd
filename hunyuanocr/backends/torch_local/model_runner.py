"""One decode step for all running requests, and reading its tokens: eager on any device, by CUDA graphs where they work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import Attention, FlashAttention, SdpaAttention
from hunyuanocr.backends.torch_local.batch_state import BatchState
from hunyuanocr.backends.torch_local.cuda_graphs import CudaGraphs
from hunyuanocr.backends.torch_local.decoder import Decoder
from hunyuanocr.backends.torch_local.kv_cache import BLOCK_SIZE, KvCache

log = logging.getLogger(__name__)

_TRIAL = 200  # tokens of each prompt of the trial step; fewer than a grain


class ModelRunner:
    """Owns the device state. `first_token` after a prefill, then `forward`, `sample`, `read_tokens` for every step.

    `asynchronous`: the device works on while the host goes on, so the tokens of a step are read during the next one.
    """

    def __init__(self, decoder: Decoder, pool: KvCache, slots: BatchState, longest: int, *, graphs: bool) -> None:
        self.decoder, self.pool, self.batch = decoder, pool, slots
        self.device = decoder.embedding.device
        self.asynchronous = self.device.type == "cuda"
        self.attention: Attention = SdpaAttention(pool)
        self._graphs: CudaGraphs | None = None
        self._logits: Tensor | int = 0  # or the size of the graph that holds them
        self._readback = TokenReadback(slots)
        if self.asynchronous:
            self._speed_up(longest, graphs)

    def first_token(self, slot: int, hidden: Tensor, constrained: bool) -> None:
        """The first token of a request, from the last hidden state [hidden] of its prompt."""
        self.batch.sample(torch.tensor([slot], device=self.device), self.decoder.logits(hidden[None]), constrained)

    def forward(self, slots: list[int], runs: Sequence[tuple[int, int]]) -> None:
        """Logits of the next token of each slot; `runs` are (start, tokens that it sees, its newest included)."""
        if self._graphs is not None:
            self._logits = self._graphs.forward(slots)
        else:
            self._logits = self._eager(torch.tensor(slots, device=self.device), runs)

    def sample(self, slots: list[int], constrained: bool) -> None:
        """Choose the tokens from those logits."""
        if self._graphs is not None and isinstance(self._logits, int):
            self._graphs.sample(self._logits)
        elif isinstance(self._logits, Tensor):
            self.batch.sample(torch.tensor(slots, device=self.device), self._logits, constrained)

    def start_readback(self) -> None:
        """Set every slot's newest token on its way to the host."""
        self._readback.start()

    def read_tokens(self, slots: list[int]) -> list[tuple[int, float]]:
        """(token, log-probability) of these slots as last sent; waits for them."""
        return self._readback.receive(slots)

    def set_mask(self, slot: int, mask: Tensor) -> None:
        """The grammar's allowed tokens of a slot, int32 [words] in pinned memory where there is a GPU."""
        self.batch.masks[slot].copy_(mask, non_blocking=True)

    def _eager(self, rows: Tensor, runs: Sequence[tuple[int, int]] | None) -> Tensor:
        slots = self.batch
        return self.decoder.decode(slots.ids[rows], slots.positions[rows], self.attention, slots.decode_batch(rows, runs))

    def _speed_up(self, longest: int, graphs: bool) -> None:
        """Flash attention and CUDA graphs, each only after it has given the plain kernels' logits on this very machine."""
        expected = self._trial()
        try:
            self.attention = FlashAttention(self.pool, 2 * self.batch.count, longest)
            _require_same(self._trial(), expected)
        except (ImportError, RuntimeError, TypeError, ValueError) as e:
            log.warning("Flash attention does not work here (%s); the plain kernels serve, more slowly.", e)
            self.attention = SdpaAttention(self.pool)
            return
        if graphs:
            self._capture(expected)

    def _capture(self, expected: Tensor) -> None:
        try:
            made = CudaGraphs(
                self.batch.count, self.batch.count, self.device, lambda rows: self._eager(rows, None),
                lambda rows, logits: self.batch.sample(rows, logits, True),
            )  # fmt: skip
            size = made.forward(list(range(len(expected))))
            _require_same(made.logits(size)[: len(expected)], expected)
            self._graphs = made
        except RuntimeError as e:
            log.warning("CUDA graphs do not work here (%s); steps are launched one by one, more slowly.", e)

    def _trial(self) -> Tensor:
        """Logits [rows, vocabulary] of a made-up step: prompts read in two chunks, into runs that do not lie in order."""
        noise = torch.Generator(device="cpu").manual_seed(0)
        starts = [2 * BLOCK_SIZE, BLOCK_SIZE][: min(2, self.batch.count)]
        for slot, start in enumerate(starts):
            ids = torch.randint(len(self.decoder.embedding), (_TRIAL,), generator=noise).to(self.device)
            positions = torch.arange(_TRIAL, device=self.device)
            for chunk in (slice(0, _TRIAL // 2), slice(_TRIAL // 2, _TRIAL)):
                x = F.embedding(ids[chunk], self.decoder.embedding)
                self.decoder.prefill(x, positions[None, chunk], self.attention, start, chunk.start)
            self.batch.add(slot, ids, start, 1.0)
            self.batch.ids[slot] = ids[-1]
        return self._eager(torch.arange(len(starts), device=self.device), [(start, _TRIAL) for start in starts])


def _require_same(found: Tensor, expected: Tensor) -> None:
    torch.cuda.synchronize()
    apart = float((found.float() - expected.float()).abs().max() / expected.float().abs().max().clamp_min(1e-6))
    if not apart < 0.05:  # the formats' rounding is far below it, a wrong kernel far above; NaN fails too
        raise RuntimeError(f"logits differ by {apart:.2g} of their range")


class TokenReadback:
    """The newest token and its log-probability of every slot, copied to pinned memory while the device goes on."""

    def __init__(self, slots: BatchState) -> None:
        self._slots = slots
        self._on_device = slots.ids.is_cuda
        if self._on_device:
            self._ids = torch.empty(slots.ids.shape, dtype=slots.ids.dtype, pin_memory=True)
            self._logprobs = torch.empty(slots.logprobs.shape, dtype=slots.logprobs.dtype, pin_memory=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        else:
            self._ids, self._logprobs = slots.ids, slots.logprobs

    def start(self) -> None:
        """Start the copy."""
        if self._on_device:
            self._ids.copy_(self._slots.ids, non_blocking=True)
            self._logprobs.copy_(self._slots.logprobs, non_blocking=True)
            self._event.record()

    def receive(self, slots: list[int]) -> list[tuple[int, float]]:
        """The copied values of these slots."""
        if self._on_device:
            self._event.synchronize()
        return list(zip(self._ids[slots].tolist(), self._logprobs[slots].tolist(), strict=True))
