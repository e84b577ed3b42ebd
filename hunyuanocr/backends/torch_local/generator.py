"""The asynchronous interface of the engine: a Generator as defined in `backends.base`."""

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

_MIN_OUTPUT_TOKENS = 256  # a request is refused, not shortened further, if fewer output tokens fit
_PREPARE_THREADS = 2


class TorchGenerator:
    """HunyuanOCR on PyTorch. The constructor is cheap; `start` loads the weights and warms up."""

    name = BackendName.TORCH

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model = settings.model_path.resolve().name
        self._engine: Engine | None = None
        self._grammars: GrammarCompiler | None = None
        self._load_lock = Lock()  # of threads, not asyncio: cancelling `start` does not stop the thread that loads
        self._closed = False
        # Images are resized and schemas compiled outside of the engine's thread, so that the device never waits for them.
        self._executor = ThreadPoolExecutor(_PREPARE_THREADS, thread_name_prefix="torch-prepare")

    async def start(self) -> None:
        """Load and warm up, once. Raises ConfigError if the device, its memory or the weights are not suitable."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    def _load(self) -> None:
        with self._load_lock:
            if self._engine is not None or self._closed:
                return
            loaded: Future[tuple[Engine, GrammarCompiler]] = Future()
            Thread(target=_engine_thread, args=(self.settings, loaded), name="torch-engine", daemon=True).start()
            try:
                self._engine, self._grammars = loaded.result()
            except torch.OutOfMemoryError as e:
                raise ConfigError(
                    "The GPU ran out of memory while the model was loading.",
                    hint="Stop other programs that use the GPU (see nvidia-smi), or reduce --vram-gb.",
                ) from e

    @property
    def loaded(self) -> LoadedModel:
        """The loaded model. Raises BackendUnavailable before `start`."""
        return self.engine.model

    @property
    def engine(self) -> Engine:
        """The running engine. Raises BackendUnavailable before `start`."""
        if self._engine is None:
            raise BackendUnavailable("The model is not loaded.")
        return self._engine

    async def generate(self, request: Generation) -> AsyncGenerator[TokenChunk, None]:
        """See Generator. Raises ImageTooLargeForMemory, InvalidSchema, BackendFailed, BackendUnavailable."""
        engine = self.engine
        stream = AsyncTokenStream()
        sequence = await asyncio.get_running_loop().run_in_executor(self._executor, self._prepare, request, stream)
        engine.submit(sequence)
        try:
            async for chunk in stream:
                yield chunk
        finally:
            engine.cancel(sequence)  # no effect on a finished one

    def _prepare(self, request: Generation, stream: AsyncTokenStream) -> Sequence:
        """Build the prompt and compile the schema. Shortens `max_tokens` to what fits, but not below _MIN_OUTPUT_TOKENS."""
        model, grammars = self.engine.model, self._grammars
        if grammars is None:  # `close` was called since
            raise BackendUnavailable("The model is not loaded.")
        prompt = model.processor(request.images, request.prompt)
        available = max(model.max_tokens - len(prompt.ids), min(_MIN_OUTPUT_TOKENS, request.max_tokens))
        grammar = grammars.compile(request.schema) if request.schema is not None else None
        return Sequence(
            prompt,
            min(request.max_tokens, available),
            request.repetition_penalty,
            model.processor.tokenizer.backend_tokenizer,
            stream.put,
            grammar,
        )

    async def health(self) -> Health:
        """Ready from the end of `start` until the device fails."""
        if self._engine is None:
            return Health(False, "The model is not loaded.")
        return Health(self._engine.fatal_error is None, self._engine.fatal_error or "ready")

    async def close(self) -> None:
        """Stop the engine and free its memory."""
        self._closed = True
        await asyncio.to_thread(self._unload)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _unload(self) -> None:
        with self._load_lock:  # waits for a load in progress
            engine, self._engine, self._grammars = self._engine, None, None
        if engine is not None:
            engine.close()


def _engine_thread(settings: Settings, loaded: Future[tuple[Engine, GrammarCompiler]]) -> None:
    """Load the model, then run the engine, both on the thread that owns the device."""
    try:
        model = load_model(settings.model_path, choose_device(settings.device), settings.torch)
        grammars = GrammarCompiler(model.processor.tokenizer, model.vocabulary, sorted(model.stop_ids))
        engine = Engine(model, settings.torch.max_num_seqs, graphs=settings.torch.graphs)
    except BaseException as e:  # noqa: BLE001 -- `Future.result` raises it in the waiting thread
        loaded.set_exception(e)
        return
    loaded.set_result((engine, grammars))
    engine.run()


class AsyncTokenStream:
    """Passes chunks from the engine's thread to a coroutine. Chunks that arrive together wake it once and are merged into one."""

    def __init__(self) -> None:
        """Must be called in the coroutine's event loop."""
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[TokenChunk | HunyuanOcrError] = deque()

    def put(self, item: TokenChunk | HunyuanOcrError) -> None:
        """Append a chunk or the final error. Thread-safe; does nothing after the event loop has closed."""
        self._items.append(item)
        if len(self._items) == 1:  # checked after the append, so that no wake-up is lost
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._arrived.set)

    async def __aiter__(self) -> AsyncGenerator[TokenChunk, None]:
        """Yield chunks up to the one with a finish reason; raise the error if one was put."""
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
