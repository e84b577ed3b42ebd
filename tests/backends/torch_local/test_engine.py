"""Admission, cancellation, fairness and failures of the engine: every request finishes, and its memory is freed."""

import gc
import itertools
import subprocess
import sys
import textwrap
import weakref
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import torch

from hunyuanocr.backends.torch_local.attention import SdpaAttention
from hunyuanocr.backends.torch_local.kv_cache import KvCache
from hunyuanocr.backends.torch_local.prefill import PromptPrefill
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ImageTooLargeForMemory
from tests.backends.torch_local.harness import EngineHarness, Output, Request, noise
from tests.support.checkpoints import random_checkpoint

ROOT = Path(__file__).parents[3]
IMAGE = (noise(96, 96),)


def is_idle(harness: EngineHarness) -> bool:
    return harness.engine.load == (0, 0, harness.model.kv_cache.tokens)


def settle(harness: EngineHarness) -> None:
    """Wait until the engine has handled all earlier messages: a last small request has finished."""
    _, output = harness.submit(Request((), "settle", 1))
    assert output.finished.wait(100)


def test_a_request_larger_than_the_cache_is_refused_at_once(harness: EngineHarness) -> None:
    with pytest.raises(ImageTooLargeForMemory, match="tokens") as refusal:
        harness.submit(Request(IMAGE, "far too long", harness.model.max_tokens))
    assert "--vram-gb" in refusal.value.hint
    assert harness.run(Request(IMAGE, "fits", 3))[0].end == "length"


def test_requests_wait_for_memory_and_are_served(harness: EngineHarness) -> None:
    kv_cache = harness.model.kv_cache
    reserved = kv_cache.allocate(kv_cache.free - 400)  # enough for one request at a time
    requests = [Request(IMAGE, f"{n}", 300, 1.0 + 0.1 * n) for n in range(3)]
    running = [harness.submit(request)[1] for request in requests]
    running[0].wait_for(5)
    assert harness.engine.load[1] == 2
    assert not running[1].tokens
    for output in running:
        assert output.finished.wait(60)
    kv_cache.release(reserved)
    for request, output in zip(requests, running, strict=True):
        harness.assert_matches_reference(request, output)
    assert is_idle(harness)


def test_cancelling_frees_slot_and_memory_in_every_state(harness: EngineHarness) -> None:
    running = [harness.submit(Request(IMAGE, f"run {n}", 3000)) for n in range(4)]  # all slots
    waiting = harness.submit(Request(IMAGE, "wait", 100))
    running[3][1].wait_for(2)
    for sequence, _ in (waiting, *running):
        harness.engine.cancel(sequence)
    settle(harness)
    assert is_idle(harness)
    assert not waiting[1].tokens
    prefilling = harness.submit(Request((noise(900, 900),), "read", 100))
    harness.engine.cancel(prefilling[0])  # before or during its prefill
    harness.engine.cancel(prefilling[0])  # may be repeated
    settle(harness)
    assert is_idle(harness)


def test_a_dropped_prefill_frees_its_activations_at_once(harness: EngineHarness) -> None:
    """By reference counting: a cycle would keep hundreds of megabytes until the next garbage collection."""
    sequence = harness.sequence(Request((noise(200, 200),), "cancelled", 10), Output())
    gc.disable()
    try:
        with torch.no_grad():
            prefill = PromptPrefill(harness.model, harness.engine.runner.attention, sequence)
            assert prefill.step(1) is None
        dropped = weakref.ref(prefill)
        del prefill
        assert dropped() is None
    finally:
        gc.enable()


def test_a_new_prompt_delays_running_sequences_by_one_chunk_at_most(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    decoder, runner = harness.model.decoder, harness.engine.runner
    prefill, forward = decoder.prefill, runner.forward
    monkeypatch.setattr(decoder, "prefill", lambda *a: (events.append("chunk"), prefill(*a))[1])
    monkeypatch.setattr(runner, "forward", lambda *a: (events.append("step"), forward(*a))[1])
    first, running = harness.submit(Request(IMAGE, "running", 2000))
    running.wait_for(3)
    _, joined = harness.submit(Request((noise(1000, 1000),), "long", 5))
    assert joined.finished.wait(60)
    assert not running.finished.is_set()
    harness.engine.cancel(first)
    chunks = [n for n, event in enumerate(events) if event == "chunk"][1:]
    assert len(chunks) > 3
    assert all("step" in events[a:b] for a, b in itertools.pairwise(chunks))


def test_an_overflow_fails_its_request_only(harness: EngineHarness) -> None:
    layer = harness.model.decoder.layers[0]
    saved = layer.norm_in.clone()
    layer.norm_in.fill_(float("nan"))
    (broken,) = harness.run(Request(IMAGE, "nan", 5))
    layer.norm_in.copy_(saved)
    assert isinstance(broken.end, BackendFailed)
    assert "--dtype" in broken.end.hint
    harness.assert_matches_reference(request := Request((noise(97, 130),), "after", 20), harness.run(request)[0])
    assert is_idle(harness)


def test_an_error_in_prefill_fails_its_request_only(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    _, running = harness.submit(request := Request((noise(100, 100, 3),), "running", 200))
    running.wait_for(3)

    def failing(*_: Any) -> None:
        raise ValueError("a layer failed")

    with monkeypatch.context() as patch:
        patch.setattr(harness.model.decoder, "prefill", failing)
        _, failed = harness.submit(Request(IMAGE, "breaks", 5))
        assert failed.finished.wait(100)
    assert isinstance(failed.end, BackendFailed)
    assert running.finished.wait(100)
    harness.assert_matches_reference(request, running)
    assert is_idle(harness)


def test_repeated_failures_of_the_device_are_fatal(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as patch:
        patch.setattr(harness.model.decoder, "decode", gone)
        ends = [harness.run(Request(IMAGE, f"{n}", 5))[0].end for n in range(3)]
    assert all(isinstance(end, BackendFailed) for end in ends)
    assert "Restart" in str(harness.engine.fatal_error)
    with pytest.raises(BackendUnavailable):
        harness.submit(Request(IMAGE, "later", 5))


def test_closing_fails_unfinished_requests(folder: Path) -> None:
    harness = EngineHarness(folder)
    requests = [harness.submit(Request(IMAGE, f"{n}", 3000))[1] for n in range(6)]
    requests[0].wait_for(1)
    harness.close()
    harness.close()
    assert all(r.finished.wait(100) for r in requests)
    assert isinstance(requests[-1].end, BackendUnavailable)
    harness.thread.join(100)
    assert not harness.thread.is_alive()


OUT_OF_MEMORY = """
import resource, torch
from pathlib import Path
from random import Random
from tests.backends.torch_local.harness import Request, EngineHarness, noise
torch.set_num_threads(1)
harness = EngineHarness(Path(r"{folder}"), vram_gb=0.8)
harness.run(Request((noise(96, 96),), "warm", 3))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, resource.RLIM_INFINITY))
(large,) = harness.run(Request((noise(1000, 1000),), "large", 3))
print(type(large.end).__name__, getattr(large.end, "code", None))
(small,) = harness.run(Request((noise(96, 96),), "small", 3))
print(small.end, harness.engine.load[:2])
harness.close()
"""


def test_out_of_memory_fails_the_request_and_the_engine_continues(folder: Path, tmp_path: Path) -> None:
    """A real shortage: the process may allocate 60 MB more; the vision tower needs several times that for a large image."""
    wide = random_checkpoint(tmp_path, vision={"hidden_size": 768, "intermediate_size": 8192, "num_hidden_layers": 1})
    code = textwrap.dedent(OUT_OF_MEMORY).format(folder=wide)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.stdout.splitlines() == [
        "ImageTooLargeForMemory image_too_large_for_memory",
        "stop (0, 0)" if "stop" in done.stdout else "length (0, 0)",
    ], done.stderr


def test_the_parts_of_the_memory_budget_add_up(harness: EngineHarness) -> None:
    budget = harness.model.budget
    parts = budget.runtime + budget.weights + budget.work + budget.tokens * budget.token
    assert parts <= budget.total < parts + 256 * budget.token + budget.token
    assert f"{budget.tokens} tokens" in str(budget)
    real = sum(p.numel() * p.element_size() for p in harness.reference_model.parameters())
    assert 0 <= budget.weights - real < 1.2 * harness.model.decoder.embedding.nbytes, "only the packed head is a copy"


def test_each_image_is_encoded_once_per_request(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    embeddings = harness.model.vision_tower.embeddings
    monkeypatch.setattr(embeddings, "forward", lambda *a, f=embeddings.forward: (calls.append(1), f(*a))[1])
    with torch.no_grad():
        harness.run(Request((noise(64, 64), noise(96, 64)), "two", 4))
    assert len(calls) == 2


def test_kv_cache_spans_never_overlap_and_are_reused() -> None:
    pool = KvCache(layers=1, heads=1, dim=1, tokens=4096, dtype=torch.float32, device=torch.device("cpu"))
    rng: Any = Random(5)
    held: dict[Any, Any] = {}
    for _ in range(2000):
        if held and rng.random() < 0.5:
            held.pop(start := rng.choice(list(held)))
            pool.release(start)
            continue
        tokens = rng.randint(1, 900)
        start = pool.allocate(tokens)
        if start is None:
            gaps = sorted([(256, 256), *((s, s + n) for s, n in held.items()), (256 + 4096, 0)])
            assert all(after[0] - before[1] < tokens for before, after in itertools.pairwise(gaps)), "a gap was large enough"
            continue
        assert start >= 256, "the scratch block belongs to no span"
        assert all(start + tokens <= s or s + n <= start for s, n in held.items())
        held[start] = tokens
        assert start + tokens <= 256 + 4096
        assert pool.free == 4096 - sum(held.values())


class DeviceTensorAttention(SdpaAttention):
    """As in a CUDA graph: starts and lengths are device tensors, the host knows nothing, rows are padded with scratch."""

    def decode(self, layer: Any, q: Any, batch: Any) -> torch.Tensor:
        assert batch.host_spans is None
        spans = list(zip(batch.seq_starts.tolist(), batch.context_lens.tolist(), strict=False))
        return super().decode(layer, q, replace(batch, host_spans=spans))


def test_the_captured_step_needs_nothing_from_the_host(harness: EngineHarness) -> None:
    """The step that is captured on a GPU, run eagerly: padded rows change no output and stay in the scratch block."""
    runner = harness.engine.runner
    runner.attention = DeviceTensorAttention(harness.model.kv_cache)

    class PaddedStep:
        def forward(self, slots: Any) -> int:
            self.slots = torch.tensor(slots + [4] * (4 - len(slots)))
            self.logits = runner.decode_logits(self.slots, None)
            return 4

        def sample(self, _: torch.Tensor) -> None:
            runner.batch_state.sample(self.slots, self.logits, True)

    runner.graphs = cast(Any, PaddedStep())
    requests = [Request((noise(80 + 30 * n, 100),), f"{n}", 400 if n == 2 else 20 + 7 * n, 1.3) for n in range(6)]
    for request, output in zip(requests, harness.run(*requests), strict=True):
        harness.assert_matches_reference(request, output)
    assert runner.batch_state.positions[4] == 0


def test_the_trial_step_detects_a_wrong_kernel(harness: EngineHarness) -> None:
    """The same kernel gives the same logits; one that reads the wrong keys gives others."""
    runner = harness.engine.runner
    with torch.no_grad():
        expected = runner.trial_logits()
        assert torch.equal(runner.trial_logits(), expected)
        correct = runner.attention.prefill
        runner.attention.prefill = lambda layer, q, kv_start, num_cached: correct(layer, q, kv_start, 0)
        assert (runner.trial_logits() - expected).abs().max() > 0.05 * expected.abs().max()
