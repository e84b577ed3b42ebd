"""The OCR pipeline as one asynchronous class: bytes → pages → recognition by the backend → fields → Result.

Every accepted request ends in a Result or in an error of `hunyuanocr.errors`. A deadline or a disconnected client cancels the
work and releases its slot immediately.
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
from hunyuanocr.backends.base import Backend, Health, check_task
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, HunyuanOcrError
from hunyuanocr.pipeline.active_backend import ActiveBackend, SwapGate, create_active_backend, start_or_close
from hunyuanocr.pipeline.admission import AdmissionQueue
from hunyuanocr.pipeline.backend_call import read_within_deadline
from hunyuanocr.pipeline.build_result import build_result
from hunyuanocr.pipeline.code_search import CodeSearch
from hunyuanocr.pipeline.deadline import Deadline
from hunyuanocr.pipeline.decoding import Decoding
from hunyuanocr.pipeline.evidence import EvidenceReading, lacks_evidence, needs_evidence, read_evidence
from hunyuanocr.pipeline.request import Request
from hunyuanocr.pipeline.result_cache import CacheKey, ResultCache, cache_key
from hunyuanocr.pipeline.timing import Timing
from hunyuanocr.types import Progress, Reading, Result, Task, TextDelta

T = TypeVar("T")
Part: TypeAlias = TextDelta | Progress | Result
log = logging.getLogger(__name__)

_GRACE_PERIOD_S = 5.0  # for requests that run while the pipeline closes


class Pipeline:
    """Runs requests on a backend and an optional evidence backend, whose lines ground a language model's values.

    `timings` keeps the stages of the latest 256 requests. `swap` replaces the backend while requests arrive.
    """

    def __init__(self, backend: Backend, settings: Settings, evidence_backend: Backend | None = None, reason: str = "") -> None:
        limits = settings.pipeline
        self.settings = settings
        self.cache = ResultCache(0 if settings.store.ephemeral else limits.cache_mb, limits.cache_age_s)
        self.timings: deque[Timing] = deque(maxlen=256)
        self.on_request_end: list[Callable[[Timing], None]] = []  # called after each request; must not raise
        self.active = ActiveBackend(backend, evidence_backend, settings, reason)
        self.state = Health(False, "The OCR backend has not been started.")
        self.loading = asyncio.Lock()
        self.gate = SwapGate(limits.queue_size)
        self.decoding = Decoding(settings, self.concurrency)
        self._codes = CodeSearch(settings, self.concurrency)
        # One spare thread: work whose request was cancelled must not delay the next request.
        self._threads = ThreadPoolExecutor(self.concurrency + 1, thread_name_prefix="pipeline")

    @property
    def backend(self) -> Backend:
        """The active backend."""
        return self.active.backend

    @property
    def evidence_backend(self) -> Backend | None:
        """The evidence backend, if any."""
        return self.active.evidence_backend

    @property
    def admission(self) -> AdmissionQueue:
        """The running and waiting requests."""
        return self.active.admission

    @property
    def concurrency(self) -> int:
        """Number of requests that run at the same time."""
        return self.active.concurrency

    @property
    def busy(self) -> bool:
        """Whether requests run or wait."""
        return bool(self.admission.running or self.admission.waiting or self.decoding.busy)

    @property
    def reason(self) -> str:
        """Which backend is active, on which device, and why, in one sentence; may be empty."""
        return self.active.reason

    async def start(self) -> None:
        """Load the backends, once. Raises their errors, which `health()` reports afterwards as well."""
        async with self.loading:  # two applications, on two ports, may share one pipeline
            if self.state.ready:
                return
            self.state = Health(False, "The OCR backend is loading.")
            try:
                await self.active.start()
            except Exception as e:
                hint = e.hint if isinstance(e, HunyuanOcrError) else ""
                self.state = Health(False, f"The OCR backend did not start: {e} {hint}".strip())
                raise
            self.state = Health(True, "ready")

    @property
    def active_settings(self) -> Settings:
        """The settings of the active backend."""
        return self.active.settings

    @property
    def is_swapping(self) -> bool:
        """Whether a backend is being loaded, at the start or by `swap`."""
        return self.loading.locked()

    async def swap(self, settings: Settings, *, concurrently: bool) -> None:
        """Replace the backend with the one that `settings` configure. If it does not load, keep the old one and raise the error.

        `concurrently`: load it while the old one serves; memory must suffice for both. Otherwise requests wait, within the
        queue's capacity and their deadlines, while the old one is closed and the new one is loaded.
        """
        new = create_active_backend(settings)
        async with self.loading:
            old = self.active
            if concurrently:
                await start_or_close(new)
                self._serve(new)
                await old.wait_idle()
                await old.close()
                return
            async with self.gate.closed():
                await old.wait_idle()
                await old.close()
                await self._start_or_restore(new, old.settings)

    async def _start_or_restore(self, new: ActiveBackend, old_settings: Settings) -> None:
        try:
            await start_or_close(new)
        except BaseException:
            log.exception("The new backend did not start; loading the previous one again.")
            restored = create_active_backend(old_settings)
            await start_or_close(restored)
            self._serve(restored)
            raise
        self._serve(new)

    def _serve(self, new: ActiveBackend) -> None:
        self.active = new
        self.cache.clear()  # the new model may have the same name
        self.state = Health(True, "ready")

    async def close(self) -> None:
        """Refuse waiting requests, wait up to five seconds for running ones, and release all resources. May be called twice."""
        self.state = Health(False, "The OCR backend is shutting down.")
        await self.admission.close(_GRACE_PERIOD_S)
        await self.active.close()
        self.decoding.close()
        self._codes.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.cache.clear()

    async def health(self) -> Health:
        """Return whether requests are accepted now, and one sentence about it. Cheap."""
        if not self.state.ready:
            return self.state
        try:
            self.active.breaker.check()
        except BackendUnavailable as e:
            return Health(False, e.message)
        return await self.backend.health()

    async def run(self, request: Request) -> Result:
        """Run one request. Raises the errors of `hunyuanocr.errors`; cancelling the caller cancels the work."""
        async with aclosing(self.stream(request)) as parts:
            async for part in parts:
                if isinstance(part, Result):
                    return part
        raise BackendFailed("The OCR backend returned no result.")

    async def stream(self, request: Request) -> AsyncGenerator[Part, None]:
        """Yield text and progress, then one Result. Use it with `contextlib.aclosing`, which cancels the work."""
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
        """Yield the cached result of the same request, or a new one, and cache it."""
        self._check_acceptable(request.task)
        key: CacheKey | None = None
        if self.cache.enabled:
            backend = self.backend
            key = await asyncio.to_thread(
                cache_key, request.owner, request.data, request.task, backend.name.value, backend.model, more=request.more
            )
            if (cached := self.cache.get(key)) is not None:
                timing.cached = True
                yield cached
                return
        self.active.breaker.check()
        deadline = Deadline(request.deadline_s or self.settings.pipeline.deadline_s)
        async with aclosing(self._admitted(request, deadline, timing)) as parts:
            async for part in parts:
                if isinstance(part, Result) and key is not None and self._is_cacheable(part, key):
                    self.cache.put(key, part)
                yield part

    def _is_cacheable(self, result: Result, key: CacheKey) -> bool:
        """Return False for a result whose evidence is missing, and for one of a backend that was swapped in meanwhile."""
        return key[3:] == (result.backend, result.model) and (self.evidence_backend is None or not lacks_evidence(result.notices))

    def _check_acceptable(self, task: Task) -> None:
        """Raise the error of a request that cannot be served, regardless of its image."""
        if not self.state.ready:
            raise BackendUnavailable(self.state.detail)
        check_task(self.backend, task.kind)

    async def _acquire(self, stack: AsyncExitStack, request: Request, deadline: Deadline) -> ActiveBackend:
        """Acquire a slot of the active backend, held until the stack is closed.

        Nothing else runs between reading `_active` and joining its queue, so that a backend that is replaced sees all its
        requests.
        """
        key, background = request.fair_key, request.background
        if await self.gate.wait_open(deadline, key, background=background):
            self._check_acceptable(request.task)
        active = self.active
        await stack.enter_async_context(active.admission.slot(deadline, key, background=background))
        return active

    async def _admitted(self, request: Request, deadline: Deadline, timing: Timing) -> AsyncGenerator[Part, None]:
        """Wait for a slot, then decode, recognise and build the result within the deadline."""
        async with AsyncExitStack() as stack:
            async with self.decoding.document(request, deadline, timing) as opened:
                with timing.stage("wait"):
                    active = await self._acquire(stack, request, deadline)
            pages = opened or await self.decoding.picture(request, deadline, timing)
            with timing.stage("wait"):
                await stack.enter_async_context(self.decoding.reading(deadline))
            backend, timing.pages = active.backend, len(pages)
            if len(pages) > 1:
                yield Progress(0, len(pages))
            codes_task = await stack.enter_async_context(self._codes.run(pages, deadline))
            evidence_task: asyncio.Task[EvidenceReading] | None = None
            if needs_evidence(request.task, backend):
                reading_evidence = read_evidence(active.evidence_backend, pages, deadline)
                evidence_task = await stack.enter_async_context(run_alongside(reading_evidence))
            reading: Reading | None = None
            with timing.stage("read"), active.breaker.protect():
                async with aclosing(read_within_deadline(backend, pages, request.task, deadline)) as parts:
                    async for part in parts:
                        if isinstance(part, Reading):
                            reading = part
                        else:
                            timing.first_token(part)
                            yield part
                if reading is None:
                    raise BackendFailed("The OCR backend returned no result.")
            timing.usage = reading.usage
            evidence = EvidenceReading()
            if evidence_task is not None and not reading.lines:  # lines of the backend itself are evidence
                with timing.stage("evidence"):
                    evidence = await evidence_task
            with timing.stage("codes"):
                codes = await codes_task
            with timing.stage("fields"):
                reading = replace(reading, notices=(*reading.notices, *evidence.notices))
                names = {"id": request.id, "backend": backend.name.value, "model": backend.model}
                work = partial(build_result, request.task, pages, reading, evidence.reading, codes, **names)
                result = await self._thread(deadline, work)
        yield result  # after the slot was released: a slow client does not hold it

    async def _thread(self, deadline: Deadline, work: Callable[[], T]) -> T:
        """Run blocking work in a thread of the pool. Cancelled work continues there, and its result is dropped."""
        return await deadline.within(asyncio.get_running_loop().run_in_executor(self._threads, work))

    def _record_timing(self, timing: Timing) -> None:
        self.timings.append(timing)
        for notify in self.on_request_end:
            notify(timing)
        log.info("%s", timing, extra={"fields": timing.log_fields()})
