"""Every request ends with an output or an error: after shutdown, a lost client, a failed device."""

import asyncio
import json
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.backends.torch_local import generator as generator_module
from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler
from hunyuanocr.backends.torch_local.generator import AsyncTokenStream
from hunyuanocr.backends.torch_local.loader import LoadedModel
from hunyuanocr.backends.torch_local.model_runner import SampledToken
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ConfigError, ImageTooLargeForMemory
from tests.backends.torch_local.harness import EngineHarness, Output, Request, noise

SCHEMA = {
    "type": "object",
    "required": ["a", "n"],
    "additionalProperties": False,
    "properties": {"a": {"type": ["string", "null"], "maxLength": 12}, "n": {"type": "integer"}},
}
IMAGE = (noise(96, 96),)


@pytest.fixture
async def generator(folder: Path) -> AsyncIterator[Any]:
    options = TorchSettings(dtype="float32", vram_gb=0.2, max_num_seqs=2)
    generator = TorchGenerator(Settings(backend="torch", model_path=folder, device="cpu", torch=options))
    yield generator
    await generator.close()


async def drain(generator: TorchGenerator, text: str = "x", tokens: int = 5) -> str | None:
    finish = None
    async for chunk in generator.generate(Generation(IMAGE, text, max_tokens=tokens)):
        finish = chunk.finish_reason
    return finish


@pytest.fixture(params=["synchronous", "asynchronous"])
def any_harness(request: pytest.FixtureRequest, harness: EngineHarness) -> EngineHarness:
    """As on a CPU, and as on a GPU, where the host processes the tokens of a step while the next one runs."""
    harness.engine.runner.asynchronous = request.param == "asynchronous"
    return harness


def test_asynchronous_readback_gives_the_same_output(any_harness: EngineHarness) -> None:
    requests = [Request((noise(80 + 20 * n, 100),), f"{n}", (1, 2, 30, 61, 7, 90)[n]) for n in range(6)]
    for request, output in zip(requests, any_harness.run(*requests), strict=True):
        any_harness.assert_matches_reference(request, output)
    assert any_harness.engine.load == (0, 0, any_harness.model.kv_cache.tokens)


def test_json_parses_for_any_token_limit(any_harness: EngineHarness) -> None:
    """In one batch with unconstrained requests, and with limits inside keys, strings and numbers."""
    model = any_harness.model
    grammar = GrammarCompiler(model.processor.tokenizer, model.vocabulary, sorted(model.stop_ids)).compile(SCHEMA)
    for tokens in (1, 2, 3, 5, 8, 13, 40):
        free = any_harness.submit(request := Request((), "free", tokens))[1]
        bound = [any_harness.submit(Request((noise(40 + 9 * n, 50),), f"{n}", tokens, 1.0), grammar)[1] for n in range(5)]
        for output in (free, *bound):
            assert output.finished.wait(100)
        any_harness.assert_matches_reference(request, free)
        assert all(set(json.loads("".join(t.text for t in w.tokens), strict=False)) == {"a", "n"} for w in bound)


def test_a_failed_readback_fails_its_requests(any_harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = any_harness.engine.runner
    read_tokens = runner.read_tokens

    def failing() -> list[SampledToken]:
        if runner.has_pending_tokens and sequence.num_generated == sequence.max_tokens - 1:  # nothing is left to launch
            raise RuntimeError("the device failed")
        return read_tokens()

    output = Output()
    sequence = any_harness.sequence(Request(IMAGE, "breaks", 4), output)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "read_tokens", failing)
        any_harness.engine.submit(sequence)
        assert output.finished.wait(100)
    assert isinstance(output.end, BackendFailed)
    any_harness.assert_matches_reference(request := Request(IMAGE, "after", 5), any_harness.run(request)[0])


def test_a_tokenizer_error_fails_its_request_only(any_harness: EngineHarness) -> None:
    _, running = any_harness.submit(request := Request((noise(100, 100, 3),), "running", 200))
    running.wait_for(3)
    broken = Output()
    sequence = any_harness.sequence(Request(IMAGE, "breaks", 50), broken)
    sequence.tokenizer = None  # as if it raised on the first token
    any_harness.engine.submit(sequence)
    assert broken.finished.wait(100)
    assert isinstance(broken.end, BackendFailed)
    assert running.finished.wait(100)
    any_harness.assert_matches_reference(request, running)


def test_pixels_are_freed_before_decoding(harness: EngineHarness) -> None:
    sequence, output = harness.submit(Request(IMAGE, "x", 2000))
    output.wait_for(2)
    assert sequence.prompt.patches == ()
    harness.engine.cancel(sequence)


def test_json_without_a_completion_is_an_error(any_harness: EngineHarness) -> None:
    output = Output()
    sequence = any_harness.sequence(Request(IMAGE, "breaks", 5), output)

    class NoCompletion:
        def shortest_completion(self, _: Any) -> None:
            raise BackendFailed("The text so far does not follow the grammar.")

    sequence.grammar = cast(Any, NoCompletion())
    any_harness.engine.submit(sequence)
    assert output.finished.wait(100)
    assert isinstance(output.end, BackendFailed)


@pytest.mark.parametrize("step", ["decode", "prefill"])
def test_out_of_memory_in_the_driver_is_not_a_lost_device(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: out of memory", 2)

    with monkeypatch.context() as patch:
        patch.setattr(harness.model.decoder, step, full)
        (first,) = harness.run(Request(IMAGE, "first", 5))
    assert isinstance(first.end, ImageTooLargeForMemory)
    harness.assert_matches_reference(request := Request(IMAGE, "after", 5), harness.run(request)[0])


def test_a_device_lost_during_prefill_is_fatal(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: Any) -> None:
        raise torch.AcceleratorError("an illegal memory access was encountered", 700)

    monkeypatch.setattr(harness.model.decoder, "prefill", lost)
    (first,) = harness.run(Request(IMAGE, "first", 5))
    assert isinstance(first.end, BackendFailed | BackendUnavailable)
    with pytest.raises(BackendUnavailable, match="Restart"):
        harness.submit(Request(IMAGE, "later", 5))


def test_a_closed_engine_refuses_requests(harness: EngineHarness) -> None:
    harness.close()
    with pytest.raises(BackendUnavailable, match="shutting down"):
        harness.submit(Request(IMAGE, "late", 5))


def test_an_error_of_the_engine_itself_fails_all_requests(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.engine.scheduler, "schedule_prefill", lambda: 1 / 0)
    output = harness.submit(Request(IMAGE, "x", 5))[1]
    assert output.finished.wait(100)
    assert isinstance(output.end, BackendUnavailable)
    assert "Restart" in str(harness.engine.fatal_error)
    with pytest.raises(BackendUnavailable, match="Restart"):
        harness.submit(Request(IMAGE, "later", 5))


async def test_closing_fails_a_request_in_preparation(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await generator.start()
    scaler = generator.loaded.processor.scaler
    started, go = threading.Event(), threading.Event()
    patches = scaler.patches

    def slow(*a: Any) -> Any:
        started.set()
        assert go.wait(100)
        return patches(*a)

    monkeypatch.setattr(scaler, "patches", slow)
    request = asyncio.create_task(drain(generator))
    await asyncio.to_thread(started.wait, 100)
    closing = asyncio.create_task(generator.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    with pytest.raises(BackendUnavailable):
        await asyncio.wait_for(request, 100)


async def test_closing_frees_the_memory(generator: Any) -> None:
    await generator.start()
    assert await drain(generator) is not None
    keys = weakref.ref(generator.loaded.kv_cache.keys[0])
    weights = weakref.ref(generator.loaded.decoder.embedding)
    await generator.close()
    assert keys() is None
    assert weights() is None


async def test_a_cancelled_start_is_not_repeated(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    load = generator_module.load_model  # type: ignore[attr-defined] # replaced where it is used
    started, go = threading.Event(), threading.Event()

    def slow(*a: Any) -> LoadedModel:
        loads.append(1)
        started.set()
        assert go.wait(100)
        return load(*a)

    monkeypatch.setattr(generator_module, "load_model", slow)
    first = asyncio.create_task(generator.start())
    await asyncio.to_thread(started.wait, 100)
    first.cancel()
    again = asyncio.create_task(generator.start())
    await asyncio.sleep(0)
    go.set()
    await again
    assert len(loads) == 1
    assert await drain(generator) is not None


async def test_out_of_gpu_memory_at_start_is_reported(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(generator_module, "load_model", full)
        with pytest.raises(ConfigError, match="ran out of memory"):
            await generator.start()
    await generator.start()  # memory is available again
    assert await drain(generator) is not None


async def test_closing_while_the_model_loads_leaves_no_thread(generator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = generator_module.load_model  # type: ignore[attr-defined] # replaced where it is used
    started, go = threading.Event(), threading.Event()

    def slow(*a: Any) -> LoadedModel:
        started.set()
        assert go.wait(100)
        return load(*a)

    monkeypatch.setattr(generator_module, "load_model", slow)
    starting = asyncio.create_task(generator.start())
    await asyncio.to_thread(started.wait, 100)
    closing = asyncio.create_task(generator.close())
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(starting, closing, return_exceptions=True)
    with pytest.raises(BackendUnavailable):
        _ = generator.loaded
    assert not any(t.name == "torch-engine" and t.is_alive() for t in threading.enumerate())


def test_a_closed_event_loop_of_one_client_affects_no_other(harness: EngineHarness) -> None:
    async def create() -> AsyncTokenStream:
        return AsyncTokenStream()

    stream = asyncio.run(create())  # its event loop is closed from here on
    sequence = harness.sequence(Request(IMAGE, "lost", 50), Output())
    sequence.on_output = stream.put
    request = Request((noise(100, 100, 3),), "running", 100)
    running = harness.submit(request)[1]
    running.wait_for(2)
    harness.engine.submit(sequence)
    assert running.finished.wait(100)
    harness.assert_matches_reference(request, running)
