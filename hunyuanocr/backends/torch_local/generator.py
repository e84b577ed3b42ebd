"""The asynchronous front of the engine: a Generator in the sense of `backends.base`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock, Thread

import torch

from hunyuanocr.backends.base import BackendName, Generation, Health, TokenChunk
from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler
from hunyuanocr.backends.torch_local.engine import Engine
from hunyuanocr.backends.torch_local.loader import LoadedModel, choose_device, load_model
from hunyuanocr.backends.torch_local.sequence import Sequence
from hunyuanocr.config import Settings
from hunyuanocr.errors import BackendUnavailable, ConfigError, HunyuanOcrError

_MIN_TOKENS = 256  # tokens that an answer must have room for, if it may be so long


class TorchGenerator:
    """HunyuanOCR on PyTorch. Cheap to make; `start` loads the weights and warms up."""

    name = BackendName.TORCH

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = settings.model_path.resolve().name
        self._engine: Engine | None = None
        self._grammars: GrammarCompiler | None = None
        self._loading = Lock()  # not asyncio's: a start that is given up leaves its thread at work
        self._closed = False
        # Pictures are resized and schemas compiled beside the engine's thread, so that the device never waits for them.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="torch-prepare")

    async def start(self) -> None:
        """Load and warm up, once. Raises ConfigError when device, memory or weights will not do."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._load)

    def _load(self) -> None:
        with self._loading:
            if self._engine is not None or self._closed:
                return
            loaded: Future[tuple[Engine, GrammarCompiler]] = Future()
            Thread(target=_engine_thread, args=(self.settings, loaded), name="torch-engine", daemon=True).start()
            try:
                self._engine, self._grammars = loaded.result()
            except torch.OutOfMemoryError as e:
                raise ConfigError(
                    "The GPU ran out of memory while the model was loaded.",
                    hint="End other programs that use the GPU (nvidia-smi shows them), or give the model less with --vram-gb.",
                ) from e

    @property
    def loaded(self) -> LoadedModel:
        """The model in memory. Raises ReaderUnavailable before `start`."""
        return self._ready()[0].model

    def _ready(self) -> tuple[Engine, GrammarCompiler]:
        if self._engine is None or self._grammars is None:
            raise BackendUnavailable("The model is not loaded.")
        return self._engine, self._grammars

    async def generate(self, request: Generation) -> AsyncGenerator[TokenChunk, None]:
        """See Generator. Raises ImageTooLargeForMemory, InvalidSchema, ReaderFailed, ReaderUnavailable."""
        engine, _ = self._ready()
        mailbox = _AsyncTokenStream()
        sequence = await asyncio.get_running_loop().run_in_executor(self._threads, self._prepared, request, mailbox)
        engine.submit(sequence)
        try:
            async for chunk in mailbox:
                yield chunk
        finally:
            engine.cancel(sequence)  # does nothing to one that has ended

    def _prepared(self, request: Generation, mailbox: _AsyncTokenStream) -> Sequence:
        engine, grammars = self._ready()
        processor = engine.model.processor
        prompt = processor(request.images, request.prompt)
        room = max(
            engine.model.max_tokens - len(prompt.ids), min(_MIN_TOKENS, request.max_tokens)
        )  # an answer may be cut, not crushed
        grammar = grammars.compile(request.schema) if request.schema is not None else None
        return Sequence(
            prompt, min(request.max_tokens, room), request.repetition_penalty, processor.tokenizer.backend_tokenizer,
            mailbox.put, grammar,
        )  # fmt: skip

    async def health(self) -> Health:
        """Ready once warm, until the device fails."""
        if self._engine is None:
            return Health(False, "The model is not loaded.")
        return Health(self._engine.fatal_error is None, self._engine.fatal_error or "ready")

    async def close(self) -> None:
        """End the engine and free its memory."""
        self._closed = True
        await asyncio.to_thread(self._unload)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _unload(self) -> None:
        with self._loading:  # a load that has begun ends first
            engine, self._engine, self._grammars = self._engine, None, None
        if engine is not None:
            engine.close()


def _engine_thread(settings: Settings, loaded: Future[tuple[Engine, GrammarCompiler]]) -> None:
    """The life of the thread that owns the device: load, then serve."""
    try:
        model = load_model(settings.model_path, choose_device(settings.device), settings.torch)
        grammars = GrammarCompiler(model.processor.tokenizer, model.vocabulary, sorted(model.stop_ids))
        engine = Engine(model, settings.torch.max_num_seqs, graphs=settings.torch.graphs)
    except BaseException as e:  # noqa: BLE001 -- raised where it is waited for
        loaded.set_exception(e)
        return
    loaded.set_result((engine, grammars))
    engine.run()


class _AsyncTokenStream:
    """Carries chunks from the engine's thread to a coroutine; what comes in a burst wakes it once and leaves as one chunk."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[TokenChunk | HunyuanOcrError] = deque()

    def put(self, item: TokenChunk | HunyuanOcrError) -> None:
        """From the engine's thread."""
        self._items.append(item)
        if len(self._items) == 1:  # looked at after the append: no wake-up can be lost
            with suppress(RuntimeError):  # the loop is closed, and its coroutine with it
                self._loop.call_soon_threadsafe(self._arrived.set)

    async def __aiter__(self) -> AsyncGenerator[TokenChunk, None]:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            chunk = TokenChunk()
            while self._items:
                item = self._items.popleft()
                if isinstance(item, HunyuanOcrError):
                    raise item
                chunk = TokenChunk(chunk.tokens + item.tokens, item.finish_reason, item.usage)
            yield chunk
            if chunk.finish_reason is not None:
                return
