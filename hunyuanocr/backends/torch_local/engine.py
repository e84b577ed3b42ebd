"""Continuous batching on one thread that owns the device.

Each turn: take arrivals and cancellations, give the next request its memory, read one piece of its prompt (a few vision layers or
one chunk of tokens), and write one token of every running request. Requests join and leave between steps. On a GPU the host is
one step behind: it reads the tokens of a step, feeds grammars and streams, while the next step's products run.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import torch

from hunyuanocr.backends.torch_local.failures import as_error, lost
from hunyuanocr.backends.torch_local.loading import Model
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.backends.torch_local.slots import Slots
from hunyuanocr.backends.torch_local.step import Stepper
from hunyuanocr.backends.torch_local.vision import encode
from hunyuanocr.errors import HunyuanOcrError, ImageTooLargeForMemory, ReaderFailed, ReaderUnavailable

log = logging.getLogger(__name__)

_ALONE = 8192  # tokens of a prompt that are read at once where nobody is held up: more would not fit the budget's work space
_BROKEN_AFTER = 3  # failed decode steps in a row: the device is gone, not the request
_GONE = "The model's device fails ({}); restart the server."


class Engine:
    """`submit` and `cancel` from any thread; results come through each Sequence's sink, on the thread in `run`."""

    def __init__(self, model: Model, slots: int, *, graphs: bool = True) -> None:
        self.model = model
        self.fault: str | None = None  # why the engine writes no more
        with torch.no_grad():
            self._slots = Slots(slots, model.vocabulary, model.device)
            self._stepper = Stepper(model.decoder, model.pool, self._slots, model.longest, graphs=graphs)
        self._inbox: queue.SimpleQueue[tuple[str, Sequence | None]] = queue.SimpleQueue()
        self._door = threading.Lock()  # nothing is put in after the fault is set and what is in has been told
        self._waiting: deque[Sequence] = deque()
        self._reading: tuple[Sequence, Iterator[None]] | None = None  # the prompt that is being read
        self._running: list[Sequence] = []
        self._pending: list[tuple[Sequence, int]] = []  # whose tokens are on their way to the host, and their slots
        self._failures = 0
        self._over = threading.Event()

    def submit(self, sequence: Sequence) -> None:
        """Queue a request. Raises ImageTooLargeForMemory for one that could never run, ReaderUnavailable after a fault."""
        if sequence.length > self.model.longest:
            raise ImageTooLargeForMemory(
                f"The picture takes {len(sequence.prompt.ids)} tokens and its answer up to {sequence.max_tokens}; "
                f"the model's memory holds {self.model.longest}."
            )
        with self._door:
            if self.fault is not None:
                raise ReaderUnavailable(self.fault)
            self._inbox.put(("submit", sequence))

    def cancel(self, sequence: Sequence) -> None:
        """Drop a request, wherever it stands. Nothing comes through its sink afterwards but what is on its way."""
        self._inbox.put(("cancel", sequence))

    def close(self) -> None:
        """End `run`, from another thread; what is being written is failed. May be called twice."""
        self._inbox.put(("close", None))
        if not self._over.wait(timeout=30):
            log.error("The engine did not end within 30 s.")

    @property
    def load(self) -> tuple[int, int, int]:
        """(running, waiting, free tokens of the pool): for probes and tests; a moment's view."""
        return len(self._running) + (self._reading is not None), len(self._waiting), self.model.pool.free

    def run(self) -> None:
        """Serve on the calling thread until `close`. It should be the thread that loaded the model and no other that computes:

        OpenMP keeps a team of workers for every thread that does, and on a CPU with more workers than cores they stop waiting for
        each other actively, which is a tenth of a decode step.
        """
        if self.model.device.type == "cuda":
            torch.cuda.set_device(self.model.device)  # a thread begins on the first GPU; streams and events are the current one's
        try:
            while self.turn():
                pass
        except Exception as e:
            log.exception("The engine ended.")
            self._end(f"The model's engine failed ({type(e).__name__}); restart the server.")
        else:
            self._end(self.fault or "The reader is shutting down.")
        finally:
            self._over.set()

    @torch.no_grad()
    def turn(self) -> bool:
        """One turn; waits while there is nothing to do. False when the engine was closed."""
        if not self._listen():
            return False
        self._admit()
        self._read_on()
        self._write()
        return True

    def _end(self, why: str) -> None:
        """Take no more, and tell all who are here or on their way."""
        with self._door:
            self.fault = why
        while not self._inbox.empty():
            what, sequence = self._inbox.get()
            if what == "submit" and sequence is not None:
                sequence.fail(ReaderUnavailable(why))
        for sequence in [*self._everyone()]:
            self._drop(sequence, ReaderUnavailable(why))

    def _everyone(self) -> Iterator[Sequence]:
        yield from self._waiting
        yield from self._running
        if self._reading is not None:
            yield self._reading[0]

    def _listen(self) -> bool:
        """Take what has arrived; sleep while there is nothing to do. False when the engine is closed."""
        while True:
            idle = not (self._running or self._reading or self._waiting or self._pending)
            try:
                what, sequence = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if sequence is None:
                return False
            if what == "cancel":
                sequence.done = True
                self._drop(sequence)
            elif not sequence.done:
                self._waiting.append(sequence)

    def _admit(self) -> None:
        """Start to read the prompt that waits longest, once a slot and a run for its whole answer are free."""
        if self._reading is not None or not self._waiting:
            return
        sequence = self._waiting[0]
        slot = self._slots.take()
        if slot is None:
            return
        start = self.model.pool.allocate(sequence.length)
        if start is None:
            self._slots.give(slot)
            return
        self._waiting.popleft()
        sequence.slot, sequence.start = slot, start
        self._reading = sequence, self._prefill(sequence)

    def _read_on(self) -> None:
        """One piece of the prompt that is being read."""
        if self._reading is None:
            return
        sequence, pieces = self._reading
        try:
            next(pieces)
        except StopIteration:
            self._reading = None
            if not sequence.done:
                self._running.append(sequence)
        except Exception as e:  # noqa: BLE001 -- whatever broke, it broke this request, and its client is told
            self._drop(sequence, as_error(e, self.model.device))
            if lost(e):
                self._end(_GONE.format(type(e).__name__))

    def _prefill(self, sequence: Sequence) -> Iterator[None]:
        """Vision and prompt in pieces, then the first token."""
        model, prompt = self.model, sequence.prompt
        device, decoder = model.device, model.decoder
        ids = torch.from_numpy(prompt.ids).to(device)
        x = torch.nn.functional.embedding(ids, decoder.embedding)
        for patches, grid, (start, end) in zip(prompt.patches, prompt.grids, prompt.spans, strict=True):
            for features in encode(model.tower, torch.from_numpy(patches).to(device), grid, model.chunk * decoder.work):
                if features is not None:
                    x[start:end] = features.to(x.dtype)
                yield
        positions = torch.from_numpy(prompt.positions).to(device)
        sequence.prompt = replace(prompt, patches=())  # 50 MB of a large picture, and the answer takes long
        hidden, chunk = x, model.chunk if self._running else _ALONE
        for before in range(0, len(ids), chunk):
            part = slice(before, before + chunk)
            hidden = decoder.prefill(x[part], positions[:, part], self._stepper.attention, sequence.start, before)
            if before + chunk < len(ids):
                yield
        self._begin(sequence, ids, hidden[-1])

    def _begin(self, sequence: Sequence, ids: torch.Tensor, hidden: torch.Tensor) -> None:
        self._slots.enter(sequence.slot, ids, sequence.start, sequence.penalty)
        self._constrain(sequence)
        self._stepper.begin(sequence.slot, hidden, sequence.mask is not None)
        sequence.launched = 1
        self._stepper.send()
        self._take([(sequence, sequence.slot)])

    def _write(self) -> None:
        """One token of every running request."""
        rows = [s for s in self._running if s.launched < s.max_tokens]
        slots = [s.slot for s in rows]
        try:
            if not rows:
                self._collect()
                return
            self._stepper.forward(slots, [(s.start, s.in_cache) for s in rows])
            self._collect()
            self._stepper.pick(slots, any(s.mask is not None for s in rows))
            self._stepper.send()
            for s in rows:
                s.launched += 1
            self._pending = list(zip(rows, slots, strict=True))
            if not self._stepper.asynchronous:
                self._collect()
            self._failures = 0
        except Exception as e:  # noqa: BLE001 -- all that run are told; what waits is tried again
            self._step_failed(e)

    def _step_failed(self, error: Exception) -> None:
        self._failures += 1
        self._pending = []
        for sequence in [*self._running]:
            self._drop(sequence, as_error(error, self.model.device))
        if self._failures >= _BROKEN_AFTER or lost(error):
            self._end(_GONE.format(type(error).__name__))

    def _collect(self) -> None:
        """Read the tokens of the step before and act on them."""
        pending, self._pending = self._pending, []
        self._take(pending)

    def _take(self, rows: list[tuple[Sequence, int]]) -> None:
        if not rows:
            return
        for (sequence, _), (token, logprob) in zip(rows, self._stepper.tokens([slot for _, slot in rows]), strict=True):
            if sequence.done:  # it ended or was cancelled while this step ran
                continue
            if math.isnan(logprob):  # numbers left the format's range
                self._drop(sequence, ReaderFailed("The model's numbers overflowed.", hint="Start with --dtype bfloat16."))
                continue
            try:
                sequence.take(token, logprob, self.model.stop_ids)
            except Exception as e:  # noqa: BLE001 -- grammar or tokenizer: the others' answers are whole
                self._drop(sequence, as_error(e, self.model.device))
            if sequence.done:
                self._drop(sequence)
            else:
                self._constrain(sequence)

    def _constrain(self, sequence: Sequence) -> None:
        if sequence.mask is not None:
            sequence.fill_mask()
            self._stepper.mask(sequence.slot, sequence.mask)

    def _drop(self, sequence: Sequence, error: HunyuanOcrError | None = None) -> None:
        """Forget a request and free what it holds; with an error, tell its client."""
        if self._reading is not None and self._reading[0] is sequence:
            self._reading = None
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
        if sequence.slot >= 0:
            self._slots.give(sequence.slot)
            self.model.pool.release(sequence.start)
            sequence.slot = sequence.start = -1
        if error is not None:
            sequence.fail(error)
