"""Every request ends in an answer or an error, whatever breaks around it: shutdown, a lost caller, a device that is gone."""

import asyncio
import json
import threading
import weakref

import pytest
import torch

from hunyuanocr.backends.base import Generation
from hunyuanocr.backends.torch_local import TorchGenerator
from hunyuanocr.backends.torch_local import generator as generator_module
from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler
from hunyuanocr.config import Settings, TorchSettings
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ConfigError, ImageTooLargeForMemory
from tests.backends.torch_local.engines import Ask, Written, noise

SCHEMA = {
    "type": "object", "required": ["a", "n"], "additionalProperties": False,
    "properties": {"a": {"type": ["string", "null"], "maxLength": 12}, "n": {"type": "integer"}},
}  # fmt: skip
PICTURE = (noise(96, 96),)


@pytest.fixture
async def generator(folder):
    options = TorchSettings(dtype="float32", vram_gb=0.2, max_num_seqs=2)
    made = TorchGenerator(Settings(backend="torch", model_path=folder, device="cpu", torch=options))
    yield made
    await made.close()


async def drain(generator: TorchGenerator, words: str = "x", tokens: int = 5) -> str | None:
    finish = None
    async for chunk in generator.generate(Generation(PICTURE, words, max_tokens=tokens)):
        finish = chunk.finish_reason
    return finish


@pytest.fixture(params=["in step with the device", "one step behind it"])
def either(request, bench):
    """As on a CPU, and as on a GPU, where the host reads the tokens of a step while the next one runs."""
    bench.engine._runner.asynchronous = request.param == "one step behind it"
    return bench


def test_a_host_that_is_one_step_behind_writes_the_same(either):
    asks = [Ask((noise(80 + 20 * n, 100),), f"{n}", (1, 2, 30, 61, 7, 90)[n]) for n in range(6)]
    for ask, written in zip(asks, either.write(*asks), strict=True):
        either.same(ask, written)
    assert either.engine.load == (0, 0, either.model.pool.tokens)


def test_json_parses_wherever_its_tokens_end(either):
    """Beside answers without a grammar, and with budgets that end within keys, strings and numbers."""
    model = either.model
    grammar = GrammarCompiler(model.processor.tokenizer, model.vocabulary, sorted(model.stop_ids)).compile(SCHEMA)
    for tokens in (1, 2, 3, 5, 8, 13, 40):
        free = either.submit(ask := Ask((), "free", tokens))[1]
        bound = [either.submit(Ask((noise(40 + 9 * n, 50),), f"{n}", tokens, 1.0), grammar)[1] for n in range(5)]
        for written in (free, *bound):
            assert written.ended.wait(100)
        either.same(ask, free)
        assert all(set(json.loads("".join(t.text for t in w.tokens), strict=False)) == {"a", "n"} for w in bound)


def test_tokens_that_cannot_be_fetched_end_their_requests(either, monkeypatch):
    tokens = either.engine._runner.read_tokens

    def gone(slots):
        if sequence.num_scheduled == sequence.max_tokens:  # the last ones, when nothing is left to launch
            raise RuntimeError("the device is gone")
        return tokens(slots)

    written = Written()
    sequence = either.sequence(Ask(PICTURE, "breaks", 4), written)
    with monkeypatch.context() as patch:
        patch.setattr(either.engine._runner, "read_tokens", gone)
        either.engine.submit(sequence)
        assert written.ended.wait(100)
    assert isinstance(written.end, BackendFailed)
    either.same(ask := Ask(PICTURE, "after", 5), either.write(ask)[0])


def test_an_answer_that_breaks_on_the_host_fails_alone(either):
    _, running = either.submit(ask := Ask((noise(100, 100, 3),), "running", 200))
    running.until(3)
    broken = Written()
    sequence = either.sequence(Ask(PICTURE, "breaks", 50), broken)

    class Decoder:
        def step(self, *_):
            raise Exception("Invalid prefix encountered")  # as the tokenizers library raises it

    sequence._stream = Decoder()
    either.engine.submit(sequence)
    assert broken.ended.wait(100)
    assert isinstance(broken.end, BackendFailed)
    assert running.ended.wait(100)
    either.same(ask, running)


def test_pixels_are_not_kept_while_the_answer_is_written(bench):
    sequence, written = bench.submit(Ask(PICTURE, "x", 2000))
    written.until(2)
    assert sequence.prompt.patches == ()
    bench.engine.cancel(sequence)


def test_json_that_cannot_be_closed_is_an_error(either):
    written = Written()
    sequence = either.sequence(Ask(PICTURE, "breaks", 5), written)

    class Endless:
        def ending(self, _):
            raise BackendFailed("The text so far does not follow the grammar.")

    sequence.grammar = Endless()
    either.engine.submit(sequence)
    assert written.ended.wait(100)
    assert isinstance(written.end, BackendFailed)


@pytest.mark.parametrize("step", ["decode", "prefill"])
def test_memory_of_the_driver_that_ran_out_is_no_lost_device(bench, monkeypatch, step):
    def full(*_):
        raise torch.AcceleratorError("CUDA error: out of memory", 2)

    with monkeypatch.context() as patch:
        patch.setattr(bench.model.decoder, step, full)
        (first,) = bench.write(Ask(PICTURE, "first", 5))
    assert isinstance(first.end, ImageTooLargeForMemory)
    bench.same(ask := Ask(PICTURE, "after", 5), bench.write(ask)[0])


def test_a_device_that_is_lost_while_a_prompt_is_read_is_reported(bench, monkeypatch):
    def gone(*_):
        raise torch.AcceleratorError("an illegal memory access was encountered", 700)

    monkeypatch.setattr(bench.model.decoder, "prefill", gone)
    (first,) = bench.write(Ask(PICTURE, "first", 5))
    assert isinstance(first.end, BackendFailed | BackendUnavailable)
    with pytest.raises(BackendUnavailable, match="restart"):
        bench.submit(Ask(PICTURE, "later", 5))


def test_an_engine_that_has_ended_says_so(bench):
    bench.close()
    with pytest.raises(BackendUnavailable, match="shutting down"):
        bench.submit(Ask(PICTURE, "late", 5))


def test_a_fault_of_the_engine_itself_ends_all_requests(bench, monkeypatch):
    monkeypatch.setattr(bench.engine, "_schedule", lambda: 1 / 0)
    written = bench.submit(Ask(PICTURE, "x", 5))[1]
    assert written.ended.wait(100)
    assert isinstance(written.end, BackendUnavailable)
    assert "restart" in str(bench.engine.fatal_error)
    with pytest.raises(BackendUnavailable, match="restart"):
        bench.submit(Ask(PICTURE, "later", 5))


async def test_closing_while_a_request_is_prepared_ends_it(generator, monkeypatch):
    await generator.start()
    processor = generator.loaded.processor
    begun, go = threading.Event(), threading.Event()
    length = processor._encode

    def slow(*a):
        begun.set()
        assert go.wait(100)
        return length(*a)

    monkeypatch.setattr(processor, "_encode", slow)
    request = asyncio.create_task(drain(generator))
    await asyncio.to_thread(begun.wait, 100)
    closing = asyncio.create_task(generator.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    with pytest.raises(BackendUnavailable):
        await asyncio.wait_for(request, 100)


async def test_memory_comes_back_when_closed(generator):
    await generator.start()
    assert await drain(generator) is not None
    keys = weakref.ref(generator.loaded.pool.keys[0])
    weights = weakref.ref(generator.loaded.decoder.embedding)
    await generator.close()
    assert keys() is None
    assert weights() is None


async def test_a_start_that_was_given_up_is_not_done_twice(generator, monkeypatch):
    loads = []
    load = generator_module.load_model
    begun, go = threading.Event(), threading.Event()

    def slow(*a):
        loads.append(1)
        begun.set()
        assert go.wait(100)
        return load(*a)

    monkeypatch.setattr(generator_module, "load_model", slow)
    first = asyncio.create_task(generator.start())
    await asyncio.to_thread(begun.wait, 100)
    first.cancel()
    again = asyncio.create_task(generator.start())
    await asyncio.sleep(0)
    go.set()
    await again
    assert len(loads) == 1
    assert await drain(generator) is not None


async def test_a_gpu_that_is_full_is_told_at_start(generator, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(generator_module, "load_model", full)
        with pytest.raises(ConfigError, match="ran out of memory"):
            await generator.start()
    await generator.start()  # others gave it back
    assert await drain(generator) is not None


async def test_closing_while_the_model_loads_leaves_nothing_behind(generator, monkeypatch):
    load = generator_module.load_model
    begun, go = threading.Event(), threading.Event()

    def slow(*a):
        begun.set()
        assert go.wait(100)
        return load(*a)

    monkeypatch.setattr(generator_module, "load_model", slow)
    starting = asyncio.create_task(generator.start())
    await asyncio.to_thread(begun.wait, 100)
    closing = asyncio.create_task(generator.close())
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(starting, closing, return_exceptions=True)
    with pytest.raises(BackendUnavailable):
        _ = generator.loaded
    assert not any(t.name == "torch-engine" and t.is_alive() for t in threading.enumerate())


def test_a_caller_whose_loop_is_gone_harms_nobody(bench):
    async def lost():
        return generator_module._AsyncTokenStream()

    mailbox = asyncio.run(lost())
    mailbox._loop = type("Closing", (), {  # closed between the question and the call
        "is_closed": lambda _: False,
        "call_soon_threadsafe": lambda *_: (_ for _ in ()).throw(RuntimeError("Event loop is closed")),
    })()  # fmt: skip
    sequence = bench.sequence(Ask(PICTURE, "lost", 50), Written())
    sequence.on_output = mailbox.put
    ask = Ask((noise(100, 100, 3),), "running", 100)
    running = bench.submit(ask)[1]
    running.until(2)
    bench.engine.submit(sequence)
    assert running.ended.wait(100)
    bench.same(ask, running)
