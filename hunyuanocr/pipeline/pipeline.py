"""The sentence of the house as one async class: bytes → pages → the backend reads → fields → Result.

An async front over blocking work. Every accepted request ends in a Result or in one of the errors of `hunyuanocr.errors`;
leaving early (a deadline, a client that is gone) cancels the work and frees its place at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from functools import partial
from typing import TypeAlias, TypeVar

from hunyuanocr.aio import run_alongside
from hunyuanocr.backends.base import Backend, Health
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, HunyuanOcrError, TaskNotSupported
from hunyuanocr.pipeline.active_backend import ActiveBackend, SwapGate, create_active_backend, started
from hunyuanocr.pipeline.admission import AdmissionQueue
from hunyuanocr.pipeline.backend_call import read_within_deadline
from hunyuanocr.pipeline.build_result import build_result
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.decoding import Decoding
from hunyuanocr.pipeline.evidence import EvidenceReading, lacks_evidence, needs_evidence, read_evidence
from hunyuanocr.pipeline.request import Request
from hunyuanocr.pipeline.result_cache import CacheKey, ResultCache, cache_key
from hunyuanocr.pipeline.timing import Timing
from hunyuanocr.types import Progress, Reading, Result, Task, TaskKind, TextDelta

T = TypeVar("T")
Part: TypeAlias = TextDelta | Progress | Result
log = logging.getLogger(__name__)

_GRACE_PERIOD_S = 5.0  # for readings that run while the pipeline closes


class Pipeline:
    """Holds a backend and an optional witness (a second reader whose lines prove a language model's values).

    `timings` keeps the latest 256 requests' stages. Another reader can take the backend's place while requests come (`swap`).
    """

    def __init__(self, backend: Backend, settings: Settings, evidence_backend: Backend | None = None, reason: str = "") -> None:
        limits = settings.pipeline
        self.settings = settings
        self.cache = ResultCache(0 if settings.store.ephemeral else limits.cache_mb, limits.cache_age_s)
        self.timings: deque[Timing] = deque(maxlen=256)
        self.on_request_end: list[Callable[[Timing], None]] = []  # told of each request that has ended; must not raise
        self._active = ActiveBackend(backend, evidence_backend, settings, reason)
        self._state = Health(False, "The reader has not been started.")
        self._loading = asyncio.Lock()
        self._gate = SwapGate(limits.queue_size)
        self.decoding = Decoding(settings, self.concurrency)
        # One thread more than readings: work whose request was cancelled must not hold up the next one's.
        self._threads = ThreadPoolExecutor(self.concurrency + 1, thread_name_prefix="pipeline")

    @property
    def backend(self) -> Backend:
        """The reader that serves."""
        return self._active.backend

    @property
    def evidence_backend(self) -> Backend | None:
        """The second reader beside it."""
        return self._active.evidence_backend

    @property
    def admission(self) -> AdmissionQueue:
        """Who reads and who waits."""
        return self._active.admission

    @property
    def concurrency(self) -> int:
        """How many requests are read at the same time."""
        return self._active.concurrency

    @property
    def busy(self) -> bool:
        """Whether requests are read or wait for it."""
        return bool(self.admission.running or self.admission.waiting or self.decoding.busy)

    @property
    def reason(self) -> str:
        """Which reader serves, where, and why, in one sentence; empty where nobody said."""
        return self._active.reason

    async def start(self) -> None:
        """Load the readers, once. Raises what they raise; `health()` tells it afterwards as well."""
        async with self._loading:  # two apps, on two ports, may hold one pipeline
            if self._state.ready:
                return
            self._state = Health(False, "The reader is loading.")
            try:
                await self._active.start()
            except Exception as e:
                hint = e.hint if isinstance(e, HunyuanOcrError) else ""
                self._state = Health(False, f"The reader did not start: {e} {hint}".strip())
                raise
            self._state = Health(True, "ready")

    @property
    def active_settings(self) -> Settings:
        """The settings that the reader in service was made of."""
        return self._active.settings

    @property
    def is_swapping(self) -> bool:
        """Whether a reader is being loaded, at the start or in another's place."""
        return self._loading.locked()

    async def swap(self, settings: Settings, *, concurrently: bool) -> None:
        """Serve with the reader that `settings` ask for. When it does not load, the old one serves on and the error is raised.

        `beside`: it is loaded while the old one serves, and takes over in an instant; there must be memory for both. Else
        requests wait, as many as may queue and as long as their deadlines allow, while one goes and the other comes.
        """
        new = create_active_backend(settings)
        async with self._loading:
            old = self._active
            if concurrently:
                await started(new)
                self._serve(new)
                await old.wait_idle()
                await old.close()
                return
            async with self._gate.closed():
                await old.wait_idle()
                await old.close()
                await self._start_or_go_back(new, old.settings)

    async def _start_or_go_back(self, new: ActiveBackend, before: Settings) -> None:
        try:
            await started(new)
        except BaseException:
            log.exception("The new reader did not start; the one before it is loaded again.")
            again = create_active_backend(before)
            await started(again)
            self._serve(again)
            raise
        self._serve(new)

    def _serve(self, new: ActiveBackend) -> None:
        self._active = new
        self.cache.clear()  # another model may have the same name
        self._state = Health(True, "ready")

    async def close(self) -> None:
        """Refuse what waits, let what runs end within five seconds, give everything back. May be called twice."""
        self._state = Health(False, "The reader is shutting down.")
        await self.admission.close(_GRACE_PERIOD_S)
        await self._active.close()
        self.decoding.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.cache.clear()

    async def health(self) -> Health:
        """Whether a request sent now would be read, and one sentence about it. Cheap."""
        if not self._state.ready:
            return self._state
        try:
            self._active.breaker.check()
        except BackendUnavailable as e:
            return Health(False, e.message)
        return await self.backend.health()

    async def run(self, request: Request) -> Result:
        """Read one request. Raises the errors of `hunyuanocr.errors`; cancelling the caller cancels the work."""
        async with aclosing(self._stream(request)) as parts:
            async for part in parts:
                if isinstance(part, Result):
                    return part
        raise BackendFailed("The reader ended without an answer.")

    def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Text as it is written, pages that were read, then one Result. Leave by `contextlib.aclosing`: it cancels the work."""
        return self._stream(request)

    async def _stream(self, request: Request) -> AsyncGenerator[Part, None]:
        timing = Timing(request.id, request.task.kind.value)
        try:
            async with aclosing(self._cached(request, timing)) as parts:
                async for part in parts:
                    if isinstance(part, Result):
                        timing.outcome = "ok"
                        yield replace(part, id=request.id, elapsed_ms=timing.elapsed_ms)
                    else:
                        yield part
        except HunyuanOcrError as e:
            timing.outcome = e.code
            raise
        except Exception:
            timing.outcome = HunyuanOcrError.code
            raise
        finally:
            self._record_timing(timing)

    async def _cached(self, request: Request, timing: Timing) -> AsyncGenerator[Part, None]:
        """The kept result of the same request, or a new one, kept."""
        self._check_acceptable(request.task)
        key: CacheKey | None = None
        if self.cache.enabled:
            backend = self.backend
            key = await asyncio.to_thread(
                cache_key, request.owner, request.data, request.task, backend.name.value, backend.model, more=request.more
            )
            if (kept := self.cache.get(key)) is not None:
                timing.cached = True
                yield kept
                return
        self._active.breaker.check()
        deadline = Deadline(request.deadline_s or self.settings.pipeline.deadline_s)
        async with aclosing(self._admitted(request, deadline, timing)) as parts:
            async for part in parts:
                if isinstance(part, Result) and key is not None and self._worth_keeping(part, key):
                    self.cache.put(key, part)
                yield part

    def _worth_keeping(self, result: Result, key: CacheKey) -> bool:
        """Not one whose proof failed: the next try may have it; nor one of a model that came while it waited."""
        return key[3:] == (result.backend, result.model) and (self.evidence_backend is None or not lacks_evidence(result.notices))

    def _check_acceptable(self, task: Task) -> None:
        """What cannot be answered now, whatever the picture."""
        if not self._state.ready:
            raise BackendUnavailable(self._state.detail)
        if task.kind not in self.backend.tasks:
            raise TaskNotSupported(
                f"The reader '{self.backend.name.value}' cannot do the task '{task.kind.value}'.", hint=_who_can(task.kind)
            )

    async def _acquire(self, stack: AsyncExitStack, request: Request, deadline: Deadline) -> ActiveBackend:
        """A place at the reader that serves, held until the stack is left.

        Between the look at who serves and the entry nothing else runs, so that a reader that goes sees who is still coming.
        """
        key, background = request.fair_key, request.background
        if await self._gate.wait_open(deadline, key, background=background):
            self._check_acceptable(request.task)
        reader = self._active
        await stack.enter_async_context(reader.admission.slot(deadline, key, background=background))
        return reader

    async def _admitted(self, request: Request, deadline: Deadline, timing: Timing) -> AsyncGenerator[Part, None]:
        """Wait for a place, then decode, read and compose within the deadline."""
        async with AsyncExitStack() as stack:
            async with self.decoding.document(request, deadline, timing) as opened:
                with timing.stage("wait"):
                    reader = await self._acquire(stack, request, deadline)
            pages = opened or await self.decoding.picture(request, deadline, timing)
            with timing.stage("wait"):
                await stack.enter_async_context(self.decoding.reading(deadline))
            backend = reader.backend
            timing.pages = len(pages)
            if len(pages) > 1:
                yield Progress(0, len(pages))
            looking: asyncio.Task[EvidenceReading] | None = None
            if needs_evidence(request.task, backend):
                looking = await stack.enter_async_context(run_alongside(read_evidence(reader.evidence_backend, pages, deadline)))
            reading: Reading | None = None
            with timing.stage("read"), reader.breaker.protect():
                async with aclosing(read_within_deadline(backend, pages, request.task, deadline)) as parts:
                    async for part in parts:
                        if isinstance(part, Reading):
                            reading = part
                        else:
                            timing.first_token(part)
                            yield part
                if reading is None:
                    raise BackendFailed("The reader ended without a reading.")
            timing.usage = reading.usage
            testimony = EvidenceReading()
            if looking is not None and not reading.lines:  # one that gives lines needs no witness
                with timing.stage("evidence"):
                    testimony = await looking
            with timing.stage("fields"):
                reading = replace(reading, notices=(*reading.notices, *testimony.notices))
                work = partial(
                    build_result, request.task, pages, reading, testimony.reading,
                    id=request.id, backend=backend.name.value, model=backend.model,
                )  # fmt: skip
                result = await self._thread(deadline, work)
        yield result  # the place is free already: a slow client does not hold it

    async def _thread(self, deadline: Deadline, work: Callable[[], T]) -> T:
        """Blocking work in one of our threads. A cancelled one runs out there and its result is dropped."""
        return await deadline.within(asyncio.get_running_loop().run_in_executor(self._threads, work))

    def _record_timing(self, timing: Timing) -> None:
        self.timings.append(timing)
        for tell in self.on_request_end:
            tell(timing)
        log.info("%s", timing, extra={"fields": timing.log_fields()})


def _who_can(kind: TaskKind) -> str:
    if kind in (TaskKind.READ, TaskKind.SPOT, TaskKind.EXTRACT):
        return "Start the server with another reader: --backend ppocr or torch."
    return f"'{kind.value}' needs the HunyuanOCR model: start the server with --backend torch."
