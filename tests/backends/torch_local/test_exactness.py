"""Token for token what transformers' generate writes, however requests are mixed; no request sees a neighbour's state."""

import numpy as np
import pytest
import torch

from tests.backends.torch_local.engines import Ask, Bench, Written, noise
from tests.support.checkpoints import random_checkpoint

ROPE = {"rope_type": "dynamic", "alpha": 1000.0, "rope_theta": 10000.0, "factor": 1.0}
CONFIGS = {
    "grouped heads": {},
    "one key head": {"num_key_value_heads": 1, "num_hidden_layers": 2},
    "as many key heads": {"num_key_value_heads": 4, "num_hidden_layers": 2},
    "head not hidden/heads": {"head_dim": 64, "rope_parameters": ROPE | {"mrope_section": [8, 8, 8, 8]}, "num_hidden_layers": 2},
    "uneven sections": {"rope_parameters": ROPE | {"alpha": 50.0, "mrope_section": [2, 6, 6, 2]}, "hidden_size": 96},
}
ASKS = [
    Ask((noise(96, 160),), "提取图中的文字。", 40),
    Ask((noise(200, 300, 1),), "total", 60, 1.3),
    Ask((noise(64, 64, 2), noise(128, 90, 3)), "two pictures", 50),
    Ask((noise(700, 320, 4),), "long", 30, 1.0),
    Ask((), "no picture", 20, 1.2),
    Ask((noise(40, 400, 5),), "wide " * 100, 33, 2.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return random_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def bench(folder):
    made = Bench(folder)
    yield made
    made.close()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_equal_to_transformers(config, tmp_path):
    bench = Bench(random_checkpoint(tmp_path, text=config, seed=7))
    try:
        for ask, written in zip(ASKS, bench.write(*ASKS), strict=True):
            bench.same(ask, written)
        assert len({i for w in bench.write(*ASKS) for i in w.ids}) > 40, "weights that repeat one token would show nothing"
    finally:
        bench.close()


def test_joins_and_cancellations_in_the_middle(bench):
    """A runs; B and C join; B is cancelled; D takes its slot and its run; E waits for a slot."""
    (_, a), later = bench.submit(ask_a := Ask((noise(150, 150, 9),), "a", 120)), {}
    a.until(10)
    b_sequence, b = bench.submit(Ask((noise(96, 96, 10),), "b", 200))
    _, later["c"] = bench.submit(ask_c := Ask((noise(300, 100, 11),), "c", 60, 1.5))
    b.until(5)
    bench.engine.cancel(b_sequence)
    asks = [Ask((noise(80 + 40 * n, 160, 20 + n),), f"d{n}", 30 + n) for n in range(6)]  # more than there are slots
    for n, ask in enumerate(asks):
        _, later[n] = bench.submit(ask)
    for written in (a, *later.values()):
        assert written.ended.wait(60)
    bench.same(ask_a, a)
    bench.same(ask_c, later["c"])
    for n, ask in enumerate(asks):
        bench.same(ask, later[n])
    assert not b.ended.is_set()
    assert len(b.tokens) < 200
    assert bench.engine.load == (0, 0, bench.model.pool.tokens)


def test_pieces_of_a_long_prompt_are_equal_to_the_whole(bench):
    ask = Ask((noise(900, 900, 8),), "long " * 30, 20)
    assert len(bench.model.processor(ask.pictures, ask.words).ids) > 3 * bench.model.prefill_chunk
    bench.same(ask, bench.write(ask)[0])  # alone: all at once
    running, written = bench.submit(Ask((), "running", 3000))
    written.until(2)
    bench.same(ask, bench.write(ask)[0])  # beside another: in pieces
    bench.engine.cancel(running)


def test_a_stop_token_ends_the_text(bench):
    ask = ASKS[0]
    ids, _ = bench.reference(ask)
    stop = next(t for n, t in enumerate(ids) if n >= 5 and t not in ids[:n])
    other = bench.model.stop_ids
    object.__setattr__(bench.model, "stop_ids", frozenset([stop]))
    try:
        (written,) = bench.write(ask)
    finally:
        object.__setattr__(bench.model, "stop_ids", other)
    assert written.ids == ids[: ids.index(stop)]
    assert written.end == "stop"


def test_text_is_what_the_tokenizer_decodes(bench):
    """Also where a character is cut into several tokens: byte tokens of a random model make few whole ones."""
    for ask, written in zip(ASKS, bench.write(*ASKS), strict=True):
        text = "".join(t.text for t in written.tokens)
        whole = bench.model.processor.tokenizer.decode(written.ids, skip_special_tokens=True)
        assert whole.startswith(text), ask.words
        assert len(whole) - len(text) <= 4, "only the bytes of an unfinished character may be missing"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_stay_close(folder, dtype):
    """Logits after a prompt and through the cache within 4 % of their range; the products' order and rounding differ."""
    bench = Bench(folder, dtype)
    try:
        for ask in ASKS:
            written = Written()
            sequence = bench.sequence(ask, written)
            with torch.no_grad():
                expected = bench.peer(**bench.inputs(ask), logits_to_keep=1).logits[0, -1].float()
            bench.engine.submit(sequence)
            assert written.ended.wait(60)
            first = written.tokens[0]
            span = float(expected.max() - expected.min())
            exact = float(expected.log_softmax(-1)[first.id])
            assert abs(first.logprob - exact) < 0.04 * span
            ids, logprobs = bench.reference(ask)
            same = next((n for n, (x, y) in enumerate(zip(ids, written.ids, strict=False)) if x != y), len(written.ids))
            assert np.abs(np.subtract(written.logprobs[:same], logprobs[:same])).max(initial=0) < 0.04 * span
    finally:
        bench.close()


def test_float16_agrees_with_float32(folder, bench):
    """No overflow, and the same first words on many pictures (random weights: range checks of real ones are bench/fp16_range)."""
    half = Bench(folder, "float16")
    try:
        asks = [Ask((noise(64 + 32 * (n % 4), 96, 50 + n),), f"picture {n}", 3) for n in range(24)]
        pairs = list(zip(half.write(*asks), bench.write(*asks), strict=True))
        assert all(np.isfinite(h.logprobs).all() and h.end in ("stop", "length") for h, _ in pairs)
        assert sum(h.ids[:1] == f.ids[:1] for h, f in pairs) >= 22
        assert max(abs(h.logprobs[0] - f.logprobs[0]) for h, f in pairs if h.ids[:1] == f.ids[:1]) < 0.1
    finally:
        half.close()
