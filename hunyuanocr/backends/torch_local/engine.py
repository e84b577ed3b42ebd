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

from hunyuanocr.backends.torch_local.batch_state import BatchState
from hunyuanocr.backends.torch_local.device_errors import is_device_lost, to_client_error
from hunyuanocr.backends.torch_local.loader import LoadedModel
from hunyuanocr.backends.torch_local.model_runner import ModelRunner
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.backends.torch_local.vision_encoder import encode_in_chunks
from hunyuanocr.errors import BackendFailed, BackendUnavailable, HunyuanOcrError, ImageTooLargeForMemory

log = logging.getLogger(__name__)

MAX_PREFILL_CHUNK = (
    8192  # tokens of a prompt that are read at once where nobody is held up: more would not fit the budget's work space
)
_BROKEN_AFTER = 3  # failed decode steps in a row: the device is gone, not the request
_GONE = "The model's device fails ({}); restart the server."


class Engine:
    """`submit` and `cancel` from any thread; results come through each Sequence's sink, on the thread in `run`."""

    def __init__(self, model: LoadedModel, slots: int, *, graphs: bool = True) -> None:
        self.model = model
        self.fatal_error: str | None = None  # why the engine writes no more
        with torch.no_grad():
            self._batch = BatchState(slots, model.vocabulary, model.device)
            self._runner = ModelRunner(model.decoder, model.pool, self._batch, model.max_tokens, graphs=graphs)
        self._inbox: queue.SimpleQueue[tuple[str, Sequence | None]] = queue.SimpleQueue()
        self._submit_lock = threading.Lock()  # nothing is put in after the fault is set and what is in has been told
        self._waiting: deque[Sequence] = deque()
        self._prefilling: tuple[Sequence, Iterator[None]] | None = None  # the prompt that is being read
        self._running: list[Sequence] = []
        self._pending: list[tuple[Sequence, int]] = []  # whose tokens are on their way to the host, and their slots
        self._failures = 0
        self._over = threading.Event()

    def submit(self, sequence: Sequence) -> None:
        """Queue a request. Raises ImageTooLargeForMemory for one that could never run, ReaderUnavailable after a fault."""
        if sequence.length > self.model.max_tokens:
            raise ImageTooLargeForMemory(
                f"The picture takes {len(sequence.prompt.ids)} tokens and its answer up to {sequence.max_tokens}; "
                f"the model's memory holds {self.model.max_tokens}."
            )
        with self._submit_lock:
            if self.fatal_error is not None:
                raise BackendUnavailable(self.fatal_error)
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
        return len(self._running) + (self._prefilling is not None), len(self._waiting), self.model.pool.free

    def run(self) -> None:
        """Serve on the calling thread until `close`. It should be the thread that loaded the model and no other that computes:

        OpenMP keeps a team of workers for every thread that does, and on a CPU with more workers than cores they stop waiting for
        each other actively, which is a tenth of a decode step.
        """
        if self.model.device.type == "cuda":
            torch.cuda.set_device(self.model.device)  # a thread begins on the first GPU; streams and events are the current one's
        try:
            while self.step():
                pass
        except Exception as e:
            log.exception("The engine ended.")
            self._end(f"The model's engine failed ({type(e).__name__}); restart the server.")
        else:
            self._end(self.fatal_error or "The reader is shutting down.")
        finally:
            self._over.set()

    @torch.no_grad()
    def step(self) -> bool:
        """One turn; waits while there is nothing to do. False when the engine was closed."""
        if not self._drain_inbox():
            return False
        self._schedule()
        self._prefill_step()
        self._decode_step()
        return True

    def _end(self, why: str) -> None:
        """Take no more, and tell all who are here or on their way."""
        with self._submit_lock:
            self.fatal_error = why
        while not self._inbox.empty():
            what, sequence = self._inbox.get()
            if what == "submit" and sequence is not None:
                sequence.fail(BackendUnavailable(why))
        for sequence in [*self._all_sequences()]:
            self._release(sequence, BackendUnavailable(why))

    def _all_sequences(self) -> Iterator[Sequence]:
        yield from self._waiting
        yield from self._running
        if self._prefilling is not None:
            yield self._prefilling[0]

    def _drain_inbox(self) -> bool:
        """Take what has arrived; sleep while there is nothing to do. False when the engine is closed."""
        while True:
            idle = not (self._running or self._prefilling or self._waiting or self._pending)
            try:
                what, sequence = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if sequence is None:
                return False
            if what == "cancel":
                sequence.done = True
                self._release(sequence)
            elif not sequence.done:
                self._waiting.append(sequence)

    def _schedule(self) -> None:
        """Start to read the prompt that waits longest, once a slot and a run for its whole answer are free."""
        if self._prefilling is not None or not self._waiting:
            return
        sequence = self._waiting[0]
        slot = self._batch.allocate()
        if slot is None:
            return
        start = self.model.pool.allocate(sequence.length)
        if start is None:
            self._batch.free(slot)
            return
        self._waiting.popleft()
        sequence.slot, sequence.kv_start = slot, start
        self._prefilling = sequence, self._prefill(sequence)

    def _prefill_step(self) -> None:
        """One piece of the prompt that is being read."""
        if self._prefilling is None:
            return
        sequence, pieces = self._prefilling
        try:
            next(pieces)
        except StopIteration:
            self._prefilling = None
            if not sequence.done:
                self._running.append(sequence)
        except Exception as e:  # noqa: BLE001 -- whatever broke, it broke this request, and its client is told
            self._release(sequence, to_client_error(e, self.model.device))
            if is_device_lost(e):
                self._end(_GONE.format(type(e).__name__))

    def _prefill(self, sequence: Sequence) -> Iterator[None]:
        """Vision and prompt in pieces, then the first token."""
        model, prompt = self.model, sequence.prompt
        device, decoder = model.device, model.decoder
        ids = torch.from_numpy(prompt.ids).to(device)
        x = torch.nn.functional.embedding(ids, decoder.embedding)
        for patches, grid, (start, end) in zip(prompt.patches, prompt.grids, prompt.spans, strict=True):
            for features in encode_in_chunks(
                model.tower, torch.from_numpy(patches).to(device), grid, model.prefill_chunk * decoder.work
            ):
                if features is not None:
                    x[start:end] = features.to(x.dtype)
                yield
        positions = torch.from_numpy(prompt.positions).to(device)
        sequence.prompt = replace(prompt, patches=())  # 50 MB of a large picture, and the answer takes long
        hidden, chunk = x, model.prefill_chunk if self._running else MAX_PREFILL_CHUNK
        for before in range(0, len(ids), chunk):
            part = slice(before, before + chunk)
            hidden = decoder.prefill(x[part], positions[:, part], self._runner.attention, sequence.kv_start, before)
            if before + chunk < len(ids):
                yield
        self._first_token(sequence, ids, hidden[-1])

    def _first_token(self, sequence: Sequence, ids: torch.Tensor, hidden: torch.Tensor) -> None:
        self._batch.add(sequence.slot, ids, sequence.kv_start, sequence.penalty)
        self._constrain(sequence)
        self._runner.first_token(sequence.slot, hidden, sequence.mask is not None)
        sequence.num_scheduled = 1
        self._runner.start_readback()
        self._process_tokens([(sequence, sequence.slot)])

    def _decode_step(self) -> None:
        """One token of every running request."""
        rows = [s for s in self._running if s.num_scheduled < s.max_tokens]
        slots = [s.slot for s in rows]
        try:
            if not rows:
                self._process_pending()
                return
            self._runner.forward(slots, [(s.kv_start, s.context_len) for s in rows])
            self._process_pending()
            self._runner.sample(slots, any(s.mask is not None for s in rows))
            self._runner.start_readback()
            for s in rows:
                s.num_scheduled += 1
            self._pending = list(zip(rows, slots, strict=True))
            if not self._runner.asynchronous:
                self._process_pending()
            self._failures = 0
        except Exception as e:  # noqa: BLE001 -- all that run are told; what waits is tried again
            self._step_failed(e)

    def _step_failed(self, error: Exception) -> None:
        self._failures += 1
        self._pending = []
        for sequence in [*self._running]:
            self._release(sequence, to_client_error(error, self.model.device))
        if self._failures >= _BROKEN_AFTER or is_device_lost(error):
            self._end(_GONE.format(type(error).__name__))

    def _process_pending(self) -> None:
        """Read the tokens of the step before and act on them."""
        pending, self._pending = self._pending, []
        self._process_tokens(pending)

    def _process_tokens(self, rows: list[tuple[Sequence, int]]) -> None:
        if not rows:
            return
        for (sequence, _), (token, logprob) in zip(rows, self._runner.read_tokens([slot for _, slot in rows]), strict=True):
            if sequence.done:  # it ended or was cancelled while this step ran
                continue
            if math.isnan(logprob):  # numbers left the format's range
                self._release(sequence, BackendFailed("The model's numbers overflowed.", hint="Start with --dtype bfloat16."))
                continue
            try:
                sequence.append_token(token, logprob, self.model.stop_ids)
            except Exception as e:  # noqa: BLE001 -- grammar or tokenizer: the others' answers are whole
                self._release(sequence, to_client_error(e, self.model.device))
            if sequence.done:
                self._release(sequence)
            else:
                self._constrain(sequence)

    def _constrain(self, sequence: Sequence) -> None:
        if sequence.mask is not None:
            sequence.fill_mask()
            self._runner.set_mask(sequence.slot, sequence.mask)

    def _release(self, sequence: Sequence, error: HunyuanOcrError | None = None) -> None:
        """Forget a request and free what it holds; with an error, tell its client."""
        if self._prefilling is not None and self._prefilling[0] is sequence:
            self._prefilling = None
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence in self._running:
            self._running.remove(sequence)
        if sequence.slot >= 0:
            self._batch.free(sequence.slot)
            self.model.pool.release(sequence.kv_start)
            sequence.slot = sequence.kv_start = -1
        if error is not None:
            sequence.fail(error)
