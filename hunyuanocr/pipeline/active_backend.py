"""The backend that serves requests, its queue and circuit breaker, and the gate that holds requests during a model swap."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.backends import create_backend, create_evidence_backend
from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, QueueFull
from hunyuanocr.pipeline.admission import AdmissionQueue
from hunyuanocr.pipeline.circuit_breaker import CircuitBreaker
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.fairness import FairQueue, Waiter

log = logging.getLogger(__name__)

_VLLM_CONCURRENCY = 8  # requests; the server batches them
_POLL_INTERVAL_S = 0.05  # between checks whether the backend is idle
_RETRY_AFTER_S = 10.0  # for requests that are refused during a swap


class ActiveBackend:
    """A backend, its optional evidence backend, its admission queue and its circuit breaker.

    `settings` are those it was created from; `reason` states in one sentence which backend this is, and why.
    """

    def __init__(self, backend: Backend, evidence_backend: Backend | None, settings: Settings, reason: str = "") -> None:
        limits = settings.pipeline
        self.backend = backend
        self.evidence_backend = evidence_backend
        self.settings = settings
        self.reason = reason
        self.concurrency = _concurrency(backend, settings)
        self.admission = AdmissionQueue(self.concurrency, limits.queue_size)
        self.breaker = CircuitBreaker(limits.breaker_failures, limits.breaker_reset_s)

    async def start(self) -> None:
        """Load both backends; continue without an evidence backend that fails. Raises ConfigError for a wrong setting."""
        await self.backend.start()
        if self.evidence_backend is None:
            return
        try:
            await self.evidence_backend.start()
        except ConfigError:
            raise
        except Exception as e:
            log.warning("The evidence backend did not start; extracted values are not verified: %s", e, exc_info=e)
            await self.evidence_backend.close()
            self.evidence_backend = None

    async def wait_idle(self) -> None:
        """Wait until no request runs or waits. New requests must already go elsewhere."""
        while self.admission.running or self.admission.waiting:  # noqa: ASYNC110 -- depends on two counters
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def close(self) -> None:
        """Release the memory of both backends."""
        for backend in (self.backend, self.evidence_backend):
            if backend is not None:
                await backend.close()


class SwapGate:
    """Holds requests while the backend is swapped and memory suffices for one only. At most `capacity` wait, in fair order."""

    def __init__(self, capacity: int) -> None:
        self._queue = FairQueue(capacity)
        self._running: Counter[str] = Counter()  # stays empty: nothing runs while the gate is closed
        self._open = asyncio.Event()
        self._open.set()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for the gate to open."""
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """Whether requests pass."""
        return self._open.is_set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Hold all requests while the block runs."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
            for waiter in self._queue.clear():
                if not waiter.turn.done():
                    waiter.turn.set_result(None)

    async def wait_open(self, deadline: Deadline, key: str = "", *, background: bool = False) -> bool:
        """Wait until the gate is open; return whether it was closed. Raises QueueFull, DeadlineExceeded."""
        if self._open.is_set():
            return False
        while not self._open.is_set():  # another swap may close it before this request continues
            if not background and self._queue.full_for(key, self._running):
                raise _swap_in_progress()
            waiter = Waiter(key, background)
            displaced = self._queue.join(waiter, self._running)
            if displaced is not None and not displaced.turn.done():
                displaced.turn.set_exception(_swap_in_progress())
            try:
                await deadline.within(waiter.turn)
            finally:
                self._queue.leave(waiter)
        return True


def _swap_in_progress() -> QueueFull:
    return QueueFull("A model is being loaded, and the queue is full.", retry_after=_RETRY_AFTER_S)


def create_active_backend(settings: Settings) -> ActiveBackend:
    """Create the configured backend and its evidence backend, without loading them. Raises the errors of `create_backend`."""
    backend, reason = create_backend(settings)
    return ActiveBackend(backend, create_evidence_backend(settings, backend), settings, reason)


async def start_or_close(new: ActiveBackend) -> None:
    """Load the backend; release its resources if that fails."""
    try:
        await new.start()
    except BaseException:
        await new.close()
        raise


def _concurrency(backend: Backend, settings: Settings) -> int:
    configured = {BackendName.PPOCR: settings.ppocr.workers, BackendName.TORCH: settings.torch.max_num_seqs}
    return configured.get(backend.name, _VLLM_CONCURRENCY)
