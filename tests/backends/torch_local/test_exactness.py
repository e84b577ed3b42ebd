"""Tokens equal those of transformers' `generate` for any mix of requests: sequences in a batch do not affect each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.backends.torch_local.harness import EngineHarness, Output, Request, noise
from tests.support.checkpoints import random_checkpoint

ROPE = {"rope_type": "dynamic", "alpha": 1000.0, "rope_theta": 10000.0, "factor": 1.0}
CONFIGS = {
    "grouped heads": {},
    "one key head": {"num_key_value_heads": 1, "num_hidden_layers": 2},
    "equal head counts": {"num_key_value_heads": 4, "num_hidden_layers": 2},
    "separate head_dim": {
        "head_dim": 64,
        "rope_parameters": ROPE | {"mrope_section": [8, 8, 8, 8]},
        "num_hidden_layers": 2,
    },
    "uneven sections": {"rope_parameters": ROPE | {"alpha": 50.0, "mrope_section": [2, 6, 6, 2]}, "hidden_size": 96},
}
REQUESTS = [
    Request((noise(96, 160),), "提取图中的文字。", 40),
    Request((noise(200, 300, 1),), "total", 60, 1.3),
    Request((noise(64, 64, 2), noise(128, 90, 3)), "two images", 50),
    Request((noise(700, 320, 4),), "long", 30, 1.0),
    Request((), "no image", 20, 1.2),
    Request((noise(40, 400, 5),), "wide " * 100, 33, 2.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def harness(folder: Path) -> Iterator[EngineHarness]:
    harness = EngineHarness(folder)
    yield harness
    harness.close()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_equal_to_transformers(config: Any, tmp_path: Path) -> None:
    harness = EngineHarness(random_checkpoint(tmp_path, text=config, seed=7))
    try:
        for request, output in zip(REQUESTS, harness.run(*REQUESTS), strict=True):
            harness.assert_matches_reference(request, output)
        assert len({i for w in harness.run(*REQUESTS) for i in w.ids}) > 40, "weights that repeat one token would prove nothing"
    finally:
        harness.close()


def test_sequences_join_and_leave_a_running_batch(harness: EngineHarness) -> None:
    """A runs; B and C join; B is cancelled; the first D takes its slot and span; the others wait."""
    later: dict[Any, Any] = {}
    _, a = harness.submit(request_a := Request((noise(150, 150, 9),), "a", 120))
    a.wait_for(10)
    b_sequence, b = harness.submit(Request((noise(96, 96, 10),), "b", 200))
    _, later["c"] = harness.submit(request_c := Request((noise(300, 100, 11),), "c", 60, 1.5))
    b.wait_for(5)
    harness.engine.cancel(b_sequence)
    requests = [Request((noise(80 + 40 * n, 160, 20 + n),), f"d{n}", 30 + n) for n in range(6)]  # more than there are slots
    for n, request in enumerate(requests):
        _, later[n] = harness.submit(request)
    for output in (a, *later.values()):
        assert output.finished.wait(60)
    harness.assert_matches_reference(request_a, a)
    harness.assert_matches_reference(request_c, later["c"])
    for n, request in enumerate(requests):
        harness.assert_matches_reference(request, later[n])
    assert not b.finished.is_set()
    assert len(b.tokens) < 200
    assert harness.engine.load == (0, 0, harness.model.kv_cache.tokens)


def test_chunked_prefill_equals_one_chunk(harness: EngineHarness) -> None:
    request = Request((noise(900, 900, 8),), "long " * 30, 20)
    assert len(harness.model.processor(request.images, request.text).ids) > 3 * harness.model.prefill_chunk
    harness.assert_matches_reference(request, harness.run(request)[0])  # alone: one chunk
    running, output = harness.submit(Request((), "running", 3000))
    output.wait_for(2)
    harness.assert_matches_reference(request, harness.run(request)[0])  # while another decodes: several chunks
    harness.engine.cancel(running)


def test_a_stop_token_ends_the_output(harness: EngineHarness) -> None:
    request = REQUESTS[0]
    ids, _ = harness.reference(request)
    stop = next(t for n, t in enumerate(ids) if n >= 5 and t not in ids[:n])
    other = harness.model.stop_ids
    object.__setattr__(harness.model, "stop_ids", frozenset([stop]))
    try:
        (output,) = harness.run(request)
    finally:
        object.__setattr__(harness.model, "stop_ids", other)
    assert output.ids == ids[: ids.index(stop)]
    assert output.end == "stop"


def test_text_equals_that_of_the_tokenizer(harness: EngineHarness) -> None:
    """Also where a character consists of several tokens: a random model writes few whole characters."""
    for request, output in zip(REQUESTS, harness.run(*REQUESTS), strict=True):
        text = "".join(t.text for t in output.tokens)
        whole = harness.model.processor.tokenizer.decode(output.ids, skip_special_tokens=True)
        assert whole.startswith(text), request.text
        assert set(whole[len(text) :]) <= {"\ufffd"}, "only the bytes of incomplete characters may be missing"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_logits_stay_close(folder: Path, dtype: str) -> None:
    """Logits after prefill and decode are within 4 % of their range; order of operations and rounding differ."""
    harness = EngineHarness(folder, dtype)
    try:
        for request in REQUESTS:
            output = Output()
            sequence = harness.sequence(request, output)
            with torch.no_grad():
                expected = harness.reference_model(**harness.inputs(request), logits_to_keep=1).logits[0, -1].float()
            harness.engine.submit(sequence)
            assert output.finished.wait(60)
            first = output.tokens[0]
            span = float(expected.max() - expected.min())
            exact = float(expected.log_softmax(-1)[first.id])
            assert abs(first.logprob - exact) < 0.04 * span
            ids, logprobs = harness.reference(request)
            equal = next((n for n, (x, y) in enumerate(zip(ids, output.ids, strict=False)) if x != y), len(output.ids))
            assert np.abs(np.subtract(output.logprobs[:equal], logprobs[:equal])).max(initial=0) < 0.04 * span
    finally:
        harness.close()


def test_float16_agrees_with_float32(folder: Path, harness: EngineHarness) -> None:
    """No overflow, and the same first tokens for many images. bench/fp16_range.py measures the range with real weights."""
    half = EngineHarness(folder, "float16")
    try:
        requests = [Request((noise(64 + 32 * (n % 4), 96, 50 + n),), f"image {n}", 3) for n in range(24)]
        pairs = list(zip(half.run(*requests), harness.run(*requests), strict=True))
        assert all(np.isfinite(h.logprobs).all() and h.end in ("stop", "length") for h, _ in pairs)
        assert sum(h.ids[:1] == f.ids[:1] for h, f in pairs) >= 22
        assert max(abs(h.logprobs[0] - f.logprobs[0]) for h, f in pairs if h.ids[:1] == f.ids[:1]) < 0.1
    finally:
        half.close()
