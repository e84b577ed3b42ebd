"""A reader in service, with what belongs to it alone; and how one takes another's place while requests come in."""

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

_VLLM_CONCURRENCY = 8  # at a time; that server batches them
_POLL_INTERVAL_S = 0.05  # at whether the last request has left
_LOAD_S = 10.0  # told to those whom a swap of models turns away


class ActiveBackend:
    """A backend, its optional witness, its places and its breaker. `settings` are those that it was made of; `reason` says in one
    sentence which reader this is.
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
        """Load both readers. A witness that does not start is done without, unless a setting is wrong: that is said now."""
        await self.backend.start()
        if self.evidence_backend is None:
            return
        try:
            await self.evidence_backend.start()
        except ConfigError:
            raise
        except Exception as e:
            log.warning("The second reader did not start; values will not be looked up on the page: %s", e, exc_info=e)
            await self.evidence_backend.close()
            self.evidence_backend = None

    async def wait_idle(self) -> None:
        """Wait until nobody reads or waits here; it must have been put out of the newcomers' way before."""
        while self.admission.running or self.admission.waiting:  # noqa: ASYNC110 -- two counts, and nobody hurries
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def close(self) -> None:
        """Give the readers' memory back."""
        for reader in (self.backend, self.evidence_backend):
            if reader is not None:
                await reader.close()


class SwapGate:
    """Open, but while a reader is exchanged and there is memory for one only; at most `capacity` wait before it, shared
    fairly.
    """

    def __init__(self, capacity: int) -> None:
        self._queue = FairQueue(capacity)
        self._nobody: Counter[str] = Counter()  # is in service meanwhile
        self._open = asyncio.Event()
        self._open.set()

    @property
    def waiting(self) -> int:
        """How many requests wait before it."""
        return len(self._queue)

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Let nobody in while the block runs."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
            for waiter in self._queue.clear():
                if not waiter.turn.done():
                    waiter.turn.set_result(None)

    async def wait_open(self, deadline: Deadline, key: str = "", *, background: bool = False) -> bool:
        """Come in; True where it had to be waited for. Raises QueueFull and DeadlineExceeded."""
        if self._open.is_set():
            return False
        while not self._open.is_set():  # it may be shut again before this one gets its turn
            if not background and self._queue.full_for(key, self._nobody):
                raise _loading()
            waiter = Waiter(key, background)
            displaced = self._queue.join(waiter, self._nobody)
            if displaced is not None and not displaced.turn.done():
                displaced.turn.set_exception(_loading())
            try:
                await deadline.within(waiter.turn)
            finally:
                self._queue.leave(waiter)
        return True


def _loading() -> QueueFull:
    return QueueFull("Another model is being loaded, and the queue is full.", retry_after=_LOAD_S)


def create_active_backend(settings: Settings) -> ActiveBackend:
    """The reader that the settings ask for, with its witness; nothing is loaded yet. Raises what `create_backend` raises."""
    backend, why = create_backend(settings)
    return ActiveBackend(backend, create_evidence_backend(settings, backend), settings, why)


async def started(new: ActiveBackend) -> None:
    """Load it, or give back what it took."""
    try:
        await new.start()
    except BaseException:
        await new.close()
        raise


def _concurrency(backend: Backend, settings: Settings) -> int:
    own = {BackendName.PPOCR: settings.ppocr.workers, BackendName.TORCH: settings.torch.max_num_seqs}
    return own.get(backend.name, _VLLM_CONCURRENCY)
