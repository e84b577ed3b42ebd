"""The scheduler without a model: admission order, slots, KV cache spans, chunk sizes, output limits."""

import numpy as np
import pytest
import torch

from hunyuanocr.backends.torch_local.kv_cache import KvCache
from hunyuanocr.backends.torch_local.processor import Prompt
from hunyuanocr.backends.torch_local.scheduler import MAX_PREFILL_CHUNK, Scheduler
from hunyuanocr.backends.torch_local.sequence import Sequence
from tests.support.checkpoints import byte_tokenizer

CHUNK = 256


@pytest.fixture
def kv_cache() -> KvCache:
    return KvCache(layers=1, heads=1, dim=1, tokens=1024, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture
def scheduler(kv_cache: KvCache) -> Scheduler:
    return Scheduler(kv_cache, max_num_seqs=2, prefill_chunk=CHUNK)


def sequence(prompt_tokens: int = 100, max_tokens: int = 50) -> Sequence:
    prompt = Prompt(np.zeros(prompt_tokens, np.int64), np.zeros((4, prompt_tokens), np.int64), (), (), ())
    return Sequence(prompt, max_tokens, 1.0, byte_tokenizer().backend_tokenizer, lambda _: None)


def prefill(scheduler: Scheduler) -> Sequence:
    """Admit the oldest waiting sequence and finish its prefill."""
    admitted, _ = scheduler.schedule_prefill()
    scheduler.finish_prefill()
    return admitted


def test_first_come_first_served_one_prefill_at_a_time(scheduler: Scheduler) -> None:
    first, second = sequence(), sequence()
    scheduler.add(first)
    scheduler.add(second)
    assert scheduler.schedule_prefill()[0] is first
    assert scheduler.schedule_prefill()[0] is first, "the prefill continues until it is finished"
    assert scheduler.sequences == [second, first]
    scheduler.finish_prefill()
    assert scheduler.schedule_prefill()[0] is second
    assert scheduler.running == [first]


def test_chunks_are_small_only_while_others_decode(scheduler: Scheduler) -> None:
    first, second = sequence(), sequence()
    scheduler.add(first)
    scheduler.add(second)
    assert scheduler.schedule_prefill() == (first, MAX_PREFILL_CHUNK)
    scheduler.finish_prefill()
    assert scheduler.schedule_prefill() == (second, CHUNK)


def test_a_sequence_waits_for_a_slot_and_takes_the_lowest(scheduler: Scheduler) -> None:
    sequences = [sequence() for _ in range(3)]
    for one in sequences:
        scheduler.add(one)
    assert [prefill(scheduler).slot for _ in range(2)] == [0, 1]
    assert scheduler.schedule_prefill() is None
    scheduler.release(sequences[0])
    assert prefill(scheduler) is sequences[2]
    assert sequences[2].slot == 0
    assert sequences[0].slot == sequences[0].kv_start == -1


def test_a_sequence_waits_for_a_span_and_keeps_its_place_in_the_queue(scheduler: Scheduler, kv_cache: KvCache) -> None:
    large, blocked, small = sequence(600, 100), sequence(300, 100), sequence(10, 10)
    for one in (large, blocked, small):
        scheduler.add(one)
    prefill(scheduler)
    assert scheduler.schedule_prefill() is None, "the oldest waits, and no younger one overtakes it"
    assert kv_cache.free == 1024 - 700
    scheduler.release(large)
    assert prefill(scheduler) is blocked
    assert kv_cache.free == 1024 - 400


def test_no_token_is_scheduled_beyond_the_limit(scheduler: Scheduler) -> None:
    one = sequence(100, 3)
    scheduler.add(one)
    prefill(scheduler)
    lengths = []
    while batch := scheduler.schedule_decode():
        lengths.append(batch[0].context_len)
    assert lengths == [101, 102], "the first output token comes from the prefill"
    assert one.num_scheduled == 3
    assert scheduler.running == [one], "it stays until its tokens are processed"


def test_release_frees_everything_in_every_state_and_may_be_repeated(scheduler: Scheduler, kv_cache: KvCache) -> None:
    running, prefilling, waiting = sequence(), sequence(), sequence()
    for one in (running, prefilling, waiting):
        scheduler.add(one)
    prefill(scheduler)
    scheduler.schedule_prefill()
    assert scheduler.has_unfinished
    for one in (waiting, prefilling, running, running):
        scheduler.release(one)
    assert not scheduler.has_unfinished
    assert kv_cache.free == 1024
    for _ in range(2):
        scheduler.add(sequence())
        prefill(scheduler)
    assert len(scheduler.running) == 2
