"""One decode step for all running requests, and reading its tokens: eager on any device, by CUDA graphs where they work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from hunyuanocr.backends.torch_local.attention import Attention, PagedFlash, PagedSdpa
from hunyuanocr.backends.torch_local.decoder import Decoder
from hunyuanocr.backends.torch_local.graphs import Graphs
from hunyuanocr.backends.torch_local.pool import PAGE, KvPool
from hunyuanocr.backends.torch_local.slots import Slots

log = logging.getLogger(__name__)


class Stepper:
    """Owns the device state. `begin` after a prefill, then `forward`, `pick`, `tokens` for every step.

    `asynchronous`: the device works on while the host goes on, so the tokens of a step are read during the next one.
    """

    def __init__(self, decoder: Decoder, pool: KvPool, slots: Slots, *, graphs: bool) -> None:
        self.decoder, self.pool, self.slots = decoder, pool, slots
        self.device = decoder.embedding.device
        self.asynchronous = self.device.type == "cuda"
        self.attention: Attention = PagedSdpa(pool)
        self._graphs: Graphs | None = None
        self._logits: Tensor | int = 0  # or the size of the graph that holds them
        self._read = Newest(slots)
        if self.asynchronous:
            self._speed_up(graphs)

    def begin(self, slot: int, hidden: Tensor, constrained: bool) -> None:
        """The first token of a request, from the last hidden state [hidden] of its prompt."""
        self.slots.pick(torch.tensor([slot], device=self.device), self.decoder.logits(hidden[None]), constrained)

    def forward(self, slots: list[int], pages: Sequence[list[int]], counts: Sequence[int]) -> None:
        """Logits of the next token of each slot; `counts` are the tokens that each sees, its newest included."""
        if self._graphs is not None:
            self._logits = self._graphs.forward(slots)
        else:
            self._logits = self._eager(torch.tensor(slots, device=self.device), pages, counts)

    def pick(self, slots: list[int], constrained: bool) -> None:
        """Choose the tokens from those logits."""
        if self._graphs is not None and isinstance(self._logits, int):
            self._graphs.pick(self._logits)
        elif isinstance(self._logits, Tensor):
            self.slots.pick(torch.tensor(slots, device=self.device), self._logits, constrained)

    def send(self) -> None:
        """Set every slot's newest token on its way to the host."""
        self._read.send()

    def tokens(self, slots: list[int]) -> list[tuple[int, float]]:
        """(token, log-probability) of these slots as last sent; waits for them."""
        return self._read.receive(slots)

    def mask(self, slot: int, mask: Tensor) -> None:
        """The grammar's allowed tokens of a slot, int32 [words] in pinned memory where there is a GPU."""
        self.slots.masks[slot].copy_(mask, non_blocking=True)

    def _eager(self, rows: Tensor, pages: Sequence[list[int]] | None, counts: Sequence[int] | None) -> Tensor:
        slots = self.slots
        return self.decoder.decode(slots.ids[rows], slots.positions[rows], self.attention, slots.rows(rows, pages, counts))

    def _speed_up(self, graphs: bool) -> None:
        """Paged flash attention and CUDA graphs, each only after it has given the plain step's logits on this very machine."""
        slots = min(2, self.slots.count)
        pages = [[n + 1] for n in range(slots)]
        rows = torch.arange(slots, device=self.device)
        self._pretend(pages)
        expected = self._eager(rows, pages, [PAGE // 2 + 1] * slots)
        try:
            self.attention = PagedFlash(self.pool, 2 * self.slots.count)
            _require_same(self._eager(rows, None, None), expected)
        except (ImportError, RuntimeError, TypeError, ValueError) as e:
            log.warning("Paged flash attention does not work here (%s); the plain kernels serve, more slowly.", e)
            self.attention = PagedSdpa(self.pool)
            return
        if graphs:
            self._capture(rows, expected)

    def _capture(self, rows: Tensor, expected: Tensor) -> None:
        try:
            made = Graphs(
                self.slots.count, self.slots.count, self.device, lambda r: self._eager(r, None, None),
                lambda r, logits: self.slots.pick(r, logits, True),
            )  # fmt: skip
            size = made.forward(rows.tolist())
            _require_same(made.logits(size)[: len(rows)], expected)
            self._graphs = made
        except RuntimeError as e:
            log.warning("CUDA graphs do not work here (%s); steps are launched one by one, more slowly.", e)

    def _pretend(self, pages: list[list[int]]) -> None:
        """Requests of half a page with noise in their cache."""
        for n, held in enumerate(pages):
            for cache in (*self.pool.keys, *self.pool.values):
                cache[held].normal_()
            self.slots.enter(n, torch.arange(PAGE // 2 + 1, device=self.device), held, 1.0)
            self.slots.ids[n] = n


def _require_same(found: Tensor, expected: Tensor) -> None:
    torch.cuda.synchronize()
    apart = float((found.float() - expected.float()).abs().max() / expected.float().abs().max().clamp_min(1e-6))
    if not apart < 0.05:  # the formats' rounding is far below it, a wrong kernel far above; NaN fails too
        raise RuntimeError(f"logits differ by {apart:.2g} of their range")


class Newest:
    """The newest token and its log-probability of every slot, copied to pinned memory while the device goes on."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._on_device = slots.ids.is_cuda
        if self._on_device:
            self._ids = torch.empty(slots.ids.shape, dtype=slots.ids.dtype, pin_memory=True)
            self._logprobs = torch.empty(slots.logprobs.shape, dtype=slots.logprobs.dtype, pin_memory=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        else:
            self._ids, self._logprobs = slots.ids, slots.logprobs

    def send(self) -> None:
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
