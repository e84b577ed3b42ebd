"""Continuous batching on one thread that owns the device.

Each step schedules, runs and processes: one chunk of one prompt, and one token of every running sequence. Sequences join and
leave the batch between steps. On a GPU the host is one step behind: it processes the tokens of a step while the device computes
the next one.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Iterable

import torch

from hunyuanocr.backends.torch_local.device_errors import is_device_lost, to_client_error
from hunyuanocr.backends.torch_local.loader import LoadedModel
from hunyuanocr.backends.torch_local.model_runner import ModelRunner, SampledToken
from hunyuanocr.backends.torch_local.scheduler import Scheduler
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ImageTooLargeForMemory

log = logging.getLogger(__name__)

_MAX_FAILED_STEPS = 3  # consecutive failed decode steps after which the device, not a request, is at fault
_CLOSE_TIMEOUT_S = 30.0


class Engine:
    """Call `submit`, `cancel` and `close` from any thread. Output goes to each Sequence's `on_output`, on the thread in `run`."""

    def __init__(self, model: LoadedModel, max_num_seqs: int, *, graphs: bool = True) -> None:
        """`max_num_seqs` sequences are prefilled or decoded concurrently; `graphs` enables CUDA graphs."""
        self.model = model
        self.fatal_error: str | None = None  # why the engine accepts no more requests
        self.scheduler = Scheduler(model.kv_cache, max_num_seqs, model.prefill_chunk)
        self.runner = ModelRunner(model, max_num_seqs, graphs=graphs)
        self._inbox: queue.SimpleQueue[tuple[str, Sequence | None]] = queue.SimpleQueue()
        self._submit_lock = threading.Lock()  # no request enters the inbox after `fatal_error` is set
        self._failed_steps = 0
        self._stopped = threading.Event()

    def submit(self, sequence: Sequence) -> None:
        """Queue a request.

        Raises ImageTooLargeForMemory if it exceeds the KV cache or the model's context, BackendUnavailable after a fatal error.
        """
        if sequence.max_length > self.model.max_tokens:
            raise ImageTooLargeForMemory(
                f"The request needs {len(sequence.prompt.ids)} prompt tokens and up to {sequence.max_tokens} output tokens; "
                f"the limit is {self.model.max_tokens} tokens."
            )
        with self._submit_lock:
            if self.fatal_error is not None:
                raise BackendUnavailable(self.fatal_error)
            self._inbox.put(("submit", sequence))

    def cancel(self, sequence: Sequence) -> None:
        """Drop a request in any state. Output that is already on its way may still arrive."""
        self._inbox.put(("cancel", sequence))

    def close(self) -> None:
        """Stop `run` from another thread and fail all unfinished requests. May be called twice."""
        self._inbox.put(("close", None))
        if not self._stopped.wait(timeout=_CLOSE_TIMEOUT_S):
            log.error("The engine did not stop within %.0f s.", _CLOSE_TIMEOUT_S)

    @property
    def load(self) -> tuple[int, int, int]:
        """(sequences in prefill or running, waiting sequences, free KV cache tokens). A snapshot, for probes and tests."""
        scheduler = self.scheduler
        return len(scheduler.running) + (scheduler.prefilling is not None), len(scheduler.waiting), self.model.kv_cache.free

    def run(self) -> None:
        """Serve on the calling thread until `close`.

        On a CPU, call it on the thread that loaded the model, and compute on no other: OpenMP keeps a worker team per computing
        thread, and with more workers than cores they stop spinning, which costs 10 % of a decode step.
        """
        if self.model.device.type == "cuda":
            torch.cuda.set_device(self.model.device)  # the current device is per thread; streams and events belong to it
        try:
            while self.step():
                pass
        except Exception as e:
            log.exception("The engine stopped with an error.")
            self._stop(f"The engine failed ({type(e).__name__}). Restart the server.")
        else:
            self._stop(self.fatal_error or "The engine is shutting down.")
        finally:
            self._stopped.set()

    @torch.no_grad()
    def step(self) -> bool:
        """Run one step; block while there is no work. Return False after `close`."""
        if not self._drain_inbox():
            return False
        if scheduled := self.scheduler.schedule_prefill():
            self._prefill_step(*scheduled)
        self._decode_step(self.scheduler.schedule_decode())
        return True

    def _drain_inbox(self) -> bool:
        """Handle all queued messages; block while there is no work. Return False on a close message."""
        while True:
            idle = not (self.scheduler.has_unfinished or self.runner.has_pending_tokens)
            try:
                message, sequence = self._inbox.get(block=idle)
            except queue.Empty:
                return True
            if sequence is None:
                return False
            if message == "cancel":
                sequence.done = True
                self._release(sequence)
            elif not sequence.done:
                self.scheduler.add(sequence)

    def _prefill_step(self, sequence: Sequence, chunk: int) -> None:
        """Prefill one chunk; after the last one, process the first output token."""
        try:
            token = self.runner.prefill(sequence, chunk)
            if token is not None:
                self.scheduler.finish_prefill()
                self._process_tokens([token])
        except Exception as e:  # noqa: BLE001 -- any error here concerns this request only, and its client receives it
            self._fail(sequence, e)
            if is_device_lost(e):
                self._stop_after(e)

    def _decode_step(self, batch: list[Sequence]) -> None:
        """Compute the logits of the batch, meanwhile process the tokens of the previous step, then sample."""
        try:
            if batch:
                self.runner.forward(batch)
            self._process_tokens(self.runner.read_tokens())
            if batch:
                self.runner.sample()
                if not self.runner.asynchronous:
                    self._process_tokens(self.runner.read_tokens())
                self._failed_steps = 0
        except Exception as e:  # noqa: BLE001 -- fails all running sequences; the waiting ones are still tried
            self._failed_steps += 1
            self.runner.discard_tokens()
            for sequence in [*self.scheduler.running]:
                self._fail(sequence, e)
            if self._failed_steps >= _MAX_FAILED_STEPS or is_device_lost(e):
                self._stop_after(e)

    def _process_tokens(self, tokens: Iterable[SampledToken]) -> None:
        """Append sampled tokens to their sequences, release finished ones, and update the grammar masks of the others."""
        for sequence, token, logprob in tokens:
            if sequence.done:  # finished or cancelled while this step was running
                continue
            if math.isnan(logprob):
                self._fail(sequence, BackendFailed("The model's activations overflowed.", hint="Start with --dtype bfloat16."))
                continue
            try:
                sequence.append_token(token, logprob, self.model.stop_ids)
            except Exception as e:  # noqa: BLE001 -- an error of the grammar or tokenizer concerns this sequence only
                self._fail(sequence, e)
            if sequence.done:
                self._release(sequence)
            else:
                self.runner.update_mask(sequence)

    def _release(self, sequence: Sequence) -> None:
        """Free everything that the sequence holds. Safe to repeat."""
        self.runner.cancel_prefill(sequence)
        self.scheduler.release(sequence)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """Release the sequence and send the error to its client."""
        self._release(sequence)
        sequence.fail(to_client_error(error, self.model.device))

    def _stop_after(self, error: Exception) -> None:
        self._stop(f"The compute device failed ({type(error).__name__}). Restart the server.")

    def _stop(self, reason: str) -> None:
        """Accept no more requests, and fail all that are queued or in progress."""
        with self._submit_lock:
            self.fatal_error = reason
        while not self._inbox.empty():
            message, sequence = self._inbox.get()
            if message == "submit" and sequence is not None:
                sequence.fail(BackendUnavailable(reason))
        for sequence in self.scheduler.sequences:
            self._fail(sequence, BackendUnavailable(reason))
