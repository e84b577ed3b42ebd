"""A reader in service, with what belongs to it alone; and how one takes another's place while requests come in."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hunyuanocr.backends import create_backend, create_witness
from hunyuanocr.backends.base import Backend, BackendName
from hunyuanocr.config import Settings
from hunyuanocr.errors import ConfigError, QueueFull
from hunyuanocr.pipeline.admission import Admission
from hunyuanocr.pipeline.breaker import Breaker
from hunyuanocr.pipeline.fairness import FairQueue, Waiter
from hunyuanocr.pipeline.requests import Deadline

log = logging.getLogger(__name__)

_VLLM_READINGS = 8  # at a time; that server batches them
_LOOK_S = 0.05  # at whether the last request has left
_LOAD_S = 10.0  # told to those whom a swap of models turns away


class Serving:
    """A backend, its optional witness, its places and its breaker. `settings` are those that it was made of; `why` says in one
    sentence which reader this is.
    """

    def __init__(self, backend: Backend, witness: Backend | None, settings: Settings, why: str = "") -> None:
        limits = settings.pipeline
        self.backend = backend
        self.witness = witness
        self.settings = settings
        self.why = why
        self.readings = _readings(backend, settings)
        self.admission = Admission(self.readings, limits.queue)
        self.breaker = Breaker(limits.breaker_failures, limits.breaker_rest_s)

    async def start(self) -> None:
        """Load both readers. A witness that does not start is done without, unless a setting is wrong: that is said now."""
        await self.backend.start()
        if self.witness is None:
            return
        try:
            await self.witness.start()
        except ConfigError:
            raise
        except Exception as e:
            log.warning("The second reader did not start; values will not be looked up on the page: %s", e, exc_info=e)
            await self.witness.close()
            self.witness = None

    async def drained(self) -> None:
        """Wait until nobody reads or waits here; it must have been put out of the newcomers' way before."""
        while self.admission.running or self.admission.waiting:  # noqa: ASYNC110 -- two counts, and nobody hurries
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """Give the readers' memory back."""
        for reader in (self.backend, self.witness):
            if reader is not None:
                await reader.close()


class Gate:
    """Open, but while a reader is exchanged and there is memory for one only; at most `places` wait before it, shared fairly."""

    def __init__(self, places: int) -> None:
        self._queue = FairQueue(places)
        self._nobody: Counter[str] = Counter()  # is in service meanwhile
        self._open = asyncio.Event()
        self._open.set()

    @property
    def waiting(self) -> int:
        """How many requests wait before it."""
        return len(self._queue)

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Let nobody in while the block runs."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
            for waiter in self._queue.clear():
                if not waiter.turn.done():
                    waiter.turn.set_result(None)

    async def passed(self, deadline: Deadline, key: str = "", *, background: bool = False) -> bool:
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


def serving(settings: Settings) -> Serving:
    """The reader that the settings ask for, with its witness; nothing is loaded yet. Raises what `create_backend` raises."""
    backend, why = create_backend(settings)
    return Serving(backend, create_witness(settings, backend), settings, why)


async def started(new: Serving) -> None:
    """Load it, or give back what it took."""
    try:
        await new.start()
    except BaseException:
        await new.close()
        raise


def _readings(backend: Backend, settings: Settings) -> int:
    own = {BackendName.PPOCR: settings.ppocr.workers, BackendName.TORCH: settings.torch.slots}
    return own.get(backend.name, _VLLM_READINGS)
