"""Admission, cancellation, fairness and failures of the engine: every request ends, and its memory comes back."""

import itertools
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random

import pytest
import torch

from hunyuanocr.backends.torch_local.attention import DecodeBatch, SdpaAttention
from hunyuanocr.backends.torch_local.kv_cache import KvCache
from hunyuanocr.errors import BackendFailed, BackendUnavailable, ImageTooLargeForMemory
from tests.backends.torch_local.engines import Ask, Bench, noise
from tests.support.checkpoints import random_checkpoint

ROOT = Path(__file__).parents[3]
PICTURE = (noise(96, 96),)


def empty(bench: Bench) -> bool:
    return bench.engine.load == (0, 0, bench.model.pool.tokens)


def settle(bench: Bench) -> None:
    """Wait until the engine has done all that came before: a last small request has ended."""
    _, written = bench.submit(Ask((), "settle", 1))
    assert written.ended.wait(100)


def test_what_can_never_fit_is_refused_at_once(bench):
    with pytest.raises(ImageTooLargeForMemory, match="tokens") as refusal:
        bench.submit(Ask(PICTURE, "far too long", bench.model.max_tokens))
    assert "--vram-gb" in refusal.value.hint
    assert bench.write(Ask(PICTURE, "fits", 3))[0].end == "length"


def test_what_must_wait_waits_and_is_served(bench):
    pool = bench.model.pool
    rest = pool.allocate(pool.free - 400)  # room for one request at a time
    asks = [Ask(PICTURE, f"{n}", 300, 1.0 + 0.1 * n) for n in range(3)]
    running = [bench.submit(ask)[1] for ask in asks]
    running[0].until(5)
    assert bench.engine.load[1] == 2
    assert not running[1].tokens
    for written in running:
        assert written.ended.wait(60)
    pool.release(rest)
    for ask, written in zip(asks, running, strict=True):
        bench.same(ask, written)
    assert empty(bench)


def test_cancelling_frees_slot_and_memory_wherever_the_request_stands(bench):
    running = [bench.submit(Ask(PICTURE, f"run {n}", 3000)) for n in range(4)]  # all slots
    waiting = bench.submit(Ask(PICTURE, "wait", 100))
    running[3][1].until(2)
    for sequence, _ in (waiting, *running):
        bench.engine.cancel(sequence)
    settle(bench)
    assert empty(bench)
    assert not waiting[1].tokens
    reading = bench.submit(Ask((noise(900, 900),), "read", 100))
    bench.engine.cancel(reading[0])  # before or in the middle of its prompt
    bench.engine.cancel(reading[0])  # twice does no harm
    settle(bench)
    assert empty(bench)


def test_a_new_prompt_never_holds_up_running_answers_for_more_than_a_piece(bench, monkeypatch):
    events = []
    decoder, stepper = bench.model.decoder, bench.engine._runner
    prefill, forward = decoder.prefill, stepper.forward
    monkeypatch.setattr(decoder, "prefill", lambda *a: (events.append("piece"), prefill(*a))[1])
    monkeypatch.setattr(stepper, "forward", lambda *a: (events.append("step"), forward(*a))[1])
    first, running = bench.submit(Ask(PICTURE, "running", 2000))
    running.until(3)
    _, joined = bench.submit(Ask((noise(1000, 1000),), "long", 5))
    assert joined.ended.wait(60)
    assert not running.ended.is_set()
    bench.engine.cancel(first)
    pieces = [n for n, event in enumerate(events) if event == "piece"][1:]
    assert len(pieces) > 3
    assert all("step" in events[a:b] for a, b in itertools.pairwise(pieces))


def test_numbers_that_overflow_are_told_and_harm_nobody_else(bench):
    layer = bench.model.decoder.layers[0]
    good = layer.norm_in.clone()
    layer.norm_in.fill_(float("nan"))
    (broken,) = bench.write(Ask(PICTURE, "nan", 5))
    layer.norm_in.copy_(good)
    assert isinstance(broken.end, BackendFailed)
    assert "--dtype" in broken.end.hint
    bench.same(ask := Ask((noise(97, 130),), "after", 20), bench.write(ask)[0])
    assert empty(bench)


def test_a_prompt_that_breaks_fails_alone(bench, monkeypatch):
    _, running = bench.submit(ask := Ask((noise(100, 100, 3),), "running", 200))
    running.until(3)

    def broken(*_):
        raise ValueError("a layer broke")

    with monkeypatch.context() as patch:
        patch.setattr(bench.model.decoder, "prefill", broken)
        _, failed = bench.submit(Ask(PICTURE, "breaks", 5))
        assert failed.ended.wait(100)
    assert isinstance(failed.end, BackendFailed)
    assert running.ended.wait(100)
    bench.same(ask, running)
    assert empty(bench)


def test_a_device_that_fails_again_and_again_is_reported(bench, monkeypatch):
    def gone(*_):
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as patch:
        patch.setattr(bench.model.decoder, "decode", gone)
        ends = [bench.write(Ask(PICTURE, f"{n}", 5))[0].end for n in range(3)]
    assert all(isinstance(end, BackendFailed) for end in ends)
    assert "restart" in str(bench.engine.fatal_error)
    with pytest.raises(BackendUnavailable):
        bench.submit(Ask(PICTURE, "later", 5))


def test_closing_tells_those_who_wait(folder):
    bench = Bench(folder)
    requests = [bench.submit(Ask(PICTURE, f"{n}", 3000))[1] for n in range(6)]
    requests[0].until(1)
    bench.close()
    bench.close()
    assert all(r.ended.wait(100) for r in requests)
    assert isinstance(requests[-1].end, BackendUnavailable)
    bench.thread.join(100)
    assert not bench.thread.is_alive()


OUT_OF_MEMORY = """
import resource, torch
from pathlib import Path
from random import Random
from tests.backends.torch_local.engines import Ask, Bench, noise
torch.set_num_threads(1)
bench = Bench(Path(r"{folder}"), vram_gb=0.8)
bench.write(Ask((noise(96, 96),), "warm", 3))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000, resource.RLIM_INFINITY))
(large,) = bench.write(Ask((noise(1000, 1000),), "large", 3))
print(type(large.end).__name__, getattr(large.end, "code", None))
(small,) = bench.write(Ask((noise(96, 96),), "small", 3))
print(small.end, bench.engine.load[:2])
bench.close()
"""


def test_memory_that_runs_out_fails_the_picture_and_the_engine_lives_on(folder, tmp_path):
    """A real shortage: the process may take 60 MB more, the vision tower of a large picture needs several times that."""
    wide = random_checkpoint(tmp_path, vision={"hidden_size": 768, "intermediate_size": 8192, "num_hidden_layers": 1})
    code = textwrap.dedent(OUT_OF_MEMORY).format(folder=wide)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.stdout.splitlines() == [
        "ImageTooLargeForMemory image_too_large_for_memory", "stop (0, 0)" if "stop" in done.stdout else "length (0, 0)",
    ], done.stderr  # fmt: skip


def test_budget_is_arithmetic_that_adds_up(bench):
    budget = bench.model.budget
    parts = budget.runtime + budget.weights + budget.work + budget.tokens * budget.token
    assert parts <= budget.total < parts + 256 * budget.token + budget.token
    assert f"{budget.tokens} tokens" in str(budget)
    real = sum(p.numel() * p.element_size() for p in bench.peer.parameters())
    assert 0 <= budget.weights - real < 1.2 * bench.model.decoder.embedding.nbytes, "the packed head is the one copy"


def test_a_picture_goes_through_the_vision_tower_once_for_each_request(bench, monkeypatch):
    calls = []
    embeddings = bench.model.tower.embeddings
    monkeypatch.setattr(embeddings, "forward", lambda *a, f=embeddings.forward: (calls.append(1), f(*a))[1])
    with torch.no_grad():
        bench.write(Ask((noise(64, 64), noise(96, 64)), "two", 4))
    assert len(calls) == 2


def test_runs_of_the_pool_never_overlap_and_all_come_back():
    pool = KvCache(layers=1, heads=1, dim=1, tokens=4096, dtype=torch.float32, device=torch.device("cpu"))
    rng, held = Random(5), {}
    for _ in range(2000):
        if held and rng.random() < 0.5:
            held.pop(start := rng.choice(list(held)))
            pool.release(start)
            continue
        tokens = rng.randint(1, 900)
        start = pool.allocate(tokens)
        if start is None:
            gaps = sorted([(256, 256), *((s, s + n) for s, n in held.items()), (256 + 4096, 0)])
            assert all(after[0] - before[1] < tokens for before, after in itertools.pairwise(gaps)), "a gap was long enough"
            continue
        assert start >= 256, "scratch is nobody's"
        assert all(start + tokens <= s or s + n <= start for s, n in held.items())
        held[start] = tokens
        assert start + tokens <= 256 + 4096
        assert pool.free == 4096 - sum(held.values())


class ByTheDevice(SdpaAttention):
    """What a graph sees: starts and lengths as device tensors, nothing on the host, rows padded with scratch."""

    def decode(self, layer, q, rows):
        assert rows.host_spans is None
        runs = list(zip(rows.seq_starts.tolist(), rows.context_lens.tolist(), strict=False))
        return super().decode(layer, q, DecodeBatch(rows.slot_mapping, rows.seq_starts, rows.context_lens, runs))


def test_a_step_needs_nothing_from_the_host(bench):
    """The step that is captured on a GPU, run eagerly: padded rows change no answer, and stay within the scratch tokens."""
    stepper = bench.engine._runner
    stepper.attention = ByTheDevice(bench.model.pool)

    class Padded:
        def forward(self, slots):
            self.rows = torch.tensor(slots + [4] * (4 - len(slots)))
            self.logits = stepper._eager(self.rows, None)
            return 4

        def sample(self, _):
            stepper.batch.sample(self.rows, self.logits, True)

    stepper._graphs = Padded()
    asks = [Ask((noise(80 + 30 * n, 100),), f"{n}", 400 if n == 2 else 20 + 7 * n, 1.3) for n in range(6)]
    for ask, written in zip(asks, bench.write(*asks), strict=True):
        bench.same(ask, written)
    assert stepper.batch.positions[4] == 0


def test_the_start_checks_its_kernels_by_a_trial_step(bench):
    """Two attentions that agree give the same logits; one that reads the wrong keys is found out."""
    stepper = bench.engine._runner
    with torch.no_grad():
        expected = stepper._trial()
        assert torch.equal(stepper._trial(), expected)
        good = stepper.attention.prefill
        stepper.attention.prefill = lambda layer, q, start, before: good(layer, q, start, 0)
        assert (stepper._trial() - expected).abs().max() > 0.05 * expected.abs().max()
