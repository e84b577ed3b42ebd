"""Decides which sequences the next step prefills and decodes; reserves their batch slots and KV cache spans."""

from __future__ import annotations

import heapq
from collections import deque

from hunyuanocr.backends.torch_local.kv_cache import KvCache
from hunyuanocr.backends.torch_local.sequence import Sequence

MAX_PREFILL_CHUNK = 8192
"""Prompt tokens per chunk while no sequence is decoding. The activations of a longer chunk exceed the memory budget."""


class Scheduler:
    """First come, first served. A sequence moves from `waiting` to `prefilling` to `running`; `release` removes it.

    Admission reserves a slot and a KV span for the prompt and the longest possible output, so a running sequence never waits for
    memory and is never preempted. At most one sequence is in prefill. Not thread-safe: only the engine's thread may call it.
    """

    def __init__(self, kv_cache: KvCache, max_num_seqs: int, prefill_chunk: int) -> None:
        """`prefill_chunk` is the number of prompt tokens per step while other sequences decode."""
        self.waiting: deque[Sequence] = deque()
        self.prefilling: Sequence | None = None
        self.running: list[Sequence] = []
        self._kv_cache = kv_cache
        self._prefill_chunk = prefill_chunk
        self._free_slots = list(range(max_num_seqs))  # a heap

    @property
    def has_unfinished(self) -> bool:
        """Whether any sequence is waiting, prefilling or running."""
        return bool(self.running or self.prefilling or self.waiting)

    @property
    def sequences(self) -> list[Sequence]:
        """All sequences: waiting, then running, then the one in prefill."""
        return [*self.waiting, *self.running, *([self.prefilling] if self.prefilling else [])]

    def add(self, sequence: Sequence) -> None:
        """Append a sequence to the waiting queue."""
        self.waiting.append(sequence)

    def schedule_prefill(self) -> tuple[Sequence, int] | None:
        """Return the sequence whose prompt the next step continues and its chunk size in tokens; None if there is none.

        The oldest waiting sequence is admitted if no other is in prefill and a slot and a KV span are free.
        """
        if self.prefilling is None and self.waiting and self._admit(self.waiting[0]):
            self.prefilling = self.waiting.popleft()
        if self.prefilling is None:
            return None
        return self.prefilling, self._prefill_chunk if self.running else MAX_PREFILL_CHUNK

    def finish_prefill(self) -> None:
        """Move the sequence in prefill, whose first token is now scheduled, to `running`."""
        if self.prefilling is not None:
            self.prefilling.num_scheduled = 1
            self.running.append(self.prefilling)
            self.prefilling = None

    def schedule_decode(self) -> list[Sequence]:
        """Schedule one token of every running sequence that has not reached its `max_tokens`; return these sequences."""
        batch = [s for s in self.running if s.num_scheduled < s.max_tokens]
        for sequence in batch:
            sequence.num_scheduled += 1
        return batch

    def release(self, sequence: Sequence) -> None:
        """Remove a sequence from its queue and free its slot and KV span. Do nothing if it holds none."""
        if sequence is self.prefilling:
            self.prefilling = None
        elif sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        if sequence.slot >= 0:
            heapq.heappush(self._free_slots, sequence.slot)
            self._kv_cache.release(sequence.kv_start)
            sequence.slot = sequence.kv_start = -1

    def _admit(self, sequence: Sequence) -> bool:
        if not self._free_slots:
            return False
        start = self._kv_cache.allocate(sequence.max_length)
        if start is None:
            return False
        sequence.slot, sequence.kv_start = heapq.heappop(self._free_slots), start
        return True
