"""Constrained decoding: any output of any model, truncated anywhere, is a prefix of a valid value of the schema."""

import json
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler
from hunyuanocr.errors import BackendFailed
from tests.backends.torch_local.grammar_support import RECEIPT, allowed, check, field, grammars, sample, token_bytes, tokenizer
from tests.support.checkpoints import byte_tokenizer
from tests.support.schemas import random_schema


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_any_output_is_a_value_of_the_schema(start: Any) -> None:
    for seed in range(start, start + 25):
        schema = random_schema(Random(seed))
        name = ("bytes", "learned")[seed % 2]
        for kind, budget in (("random", 40), ("random", 400), ("endless", 40), ("endless", 250)):
            written, state = sample(schema, name, kind, budget, seed)
            prefix = written.decode(errors="ignore")  # like a detokenizer, which waits for complete characters
            assert len(written) - len(prefix.encode()) < 4
            completion = grammars(name).compile(schema).shortest_completion(prefix)
            check(schema, prefix + completion)
            assert not (state.finished and completion)


def test_without_the_mask_the_same_model_does_not_write_json() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        written = b"".join(token_bytes("learned")[i] or b"" for i in rng.integers(0, len(token_bytes("learned")), 40))
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            json.loads(written.decode(errors="ignore"))


ANSWERS = [
    '{"总金额":"¥36.80 \\"net\\"\\n","paid":false,"tax":-1.25,"kind":"现金","items":[{"名称":"纯牛奶","qty":-20}]}',
    '{"总金额":null,"paid":null,"tax":249.99,"kind":"card","items":[{"名称":"ab","qty":0},{"名称":"\\\\\\/x","qty":1}]}',
    '{"总金额":"","paid":true,"tax":0,"kind":null,"items":[{"名称":"😀😀","qty":0},{"名称":null,"qty":5}]}',
    '{"总金额":"","paid":true,"tax":null,"kind":null,"items":null}',
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_prefix_has_a_completion(answer: Any) -> None:
    grammar = grammars().compile(RECEIPT)
    Draft202012Validator(RECEIPT).validate(json.loads(answer))
    assert grammar.shortest_completion(answer) == ""
    for end in range(len(answer)):
        completion = grammar.shortest_completion(answer[:end])
        assert completion
        whole = answer[:end] + completion
        Draft202012Validator(RECEIPT, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(json.loads(whole))
        state = grammar.new_state()
        for token in tokenizer("bytes").encode(whole, add_special_tokens=False):
            state.accept(token)  # completions and masks come from the same grammar
        assert state.finished


@pytest.mark.parametrize(
    ("prefix", "completion"),
    [
        ("", '{"总金额":null,"paid":null,"tax":null,"kind":null,"items":null}'),
        ('{"总金额":"¥', '","paid":null,"tax":null,"kind":null,"items":null}'),
        ('{"总金额":"\\', '"","paid":null,"tax":null,"kind":null,"items":null}'),
        ('{"总金额":nu', 'll,"paid":null,"tax":null,"kind":null,"items":null}'),
        ('{"总金额":null,"paid":t', 'rue,"tax":null,"kind":null,"items":null}'),
        ('{"总金额":null,"paid":null,"tax":-', '1,"kind":null,"items":null}'),
        ('{"总金额":null,"paid":null,"tax":2.', '0,"kind":null,"items":null}'),
        ('{"总金额":null,"paid":null,"tax":2,"k', 'ind":null,"items":null}'),
        ('{"总金额":null,"paid":null,"tax":2,"kind":"c', 'ash","items":null}'),
        ('{"总金额":null,"paid":null,"tax":2,"kind":null,"items":[{"名称":"ab","qty":1},', '{"名称":null,"qty":0}]}'),
        ('{"总金额":null,"paid":null,"tax":2,"kind":null,"items":[{"名称":"ab","qty":1}', "]}"),
    ],
)
def test_the_completion_is_the_shortest_and_missing_values_are_null(prefix: str, completion: str) -> None:
    assert grammars().compile(RECEIPT).shortest_completion(prefix) == completion


@pytest.mark.parametrize(
    "foreign", ['{"x', '{ "总', '{"总金额":null,"paid":null,"tax":251', '{"总金额":"\n', '{"总金额":null}', "[", ANSWERS[0] + " "]
)
def test_text_of_another_grammar_has_no_completion(foreign: str) -> None:
    with pytest.raises(BackendFailed):
        grammars().compile(RECEIPT).shortest_completion(foreign)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "string", "maxLength": 10**9},
        {"type": "array", "maxItems": 1000, "items": {"type": "null"}},
    ],
)
def test_expensive_schemas_compile_quickly(part: dict[str, Any]) -> None:
    schema = field(part)
    written, _ = sample(schema, "bytes", "endless", 200, 0)
    prefix = written.decode(errors="ignore")
    json.loads(prefix + grammars().compile(schema).shortest_completion(prefix))


def test_the_completion_of_a_long_text_is_quick() -> None:
    grammar = grammars().compile(field({"type": "string"}))
    assert grammar.shortest_completion('{"键":"' + "ab" * 3000) == '"}'


@pytest.mark.parametrize("name", ["bytes", "learned"])
def test_special_and_padding_tokens_are_never_allowed_and_stop_only_after_the_value(name: str) -> None:
    t = tokenizer(name)
    state = grammars(name).compile(field({"type": "string"})).new_state()
    text = t.encode('{"键":"总 a"}', add_special_tokens=False)
    for token in text:
        ids, _ = allowed(state)
        assert not set(ids) & set(t.all_special_ids)
        assert max(ids) < len(t)
        assert not state.finished
        state.accept(token)
    assert state.finished
    assert allowed(state) == ([t.eos_token_id], True)
    state.accept(t.eos_token_id)
    assert state.finished


def test_a_number_is_finished_only_if_no_digit_may_follow() -> None:
    t = tokenizer("bytes")
    state = grammars().compile({"type": "integer", "maximum": 100, "minimum": 1}).new_state()
    finished = []
    for token in t.encode("100", add_special_tokens=False):
        state.accept(token)
        finished.append(state.finished)
    assert finished == ([False, True] if len(finished) == 2 else [False, False, True])


def test_a_token_that_is_not_allowed_is_an_error() -> None:
    state = grammars().compile(RECEIPT).new_state()
    with pytest.raises(BackendFailed):
        state.accept(tokenizer("bytes").encode("]", add_special_tokens=False)[0])
    with pytest.raises(BackendFailed):
        state.accept(tokenizer("bytes").eos_token_id)


def test_threads_compile_concurrently_and_the_last_64_grammars_are_cached() -> None:
    compiler = GrammarCompiler(tokenizer("bytes"), 300, [tokenizer("bytes").eos_token_id])
    schemas = [random_schema(Random(seed)) for seed in range(20)] * 4

    def complete(schema: Any) -> str:
        return compiler.compile(schema).shortest_completion("")

    with ThreadPoolExecutor(8) as pool:
        completions = list(pool.map(complete, schemas))
    assert completions == [grammars().compile(schema).shortest_completion("") for schema in schemas]
    first = compiler.compile(RECEIPT)
    assert compiler.compile(dict(RECEIPT)) is first
    for n in range(64):
        compiler.compile(field({"enum": [n]}))
    assert compiler.compile(RECEIPT) is not first


def test_an_endless_string_is_closed_at_its_limit_and_the_next_field_follows() -> None:
    """A model that repeats one character: a letter, a Chinese character of three bytes, an escape."""
    grammars = GrammarCompiler(byte_tokenizer(), VOCABULARY := len(byte_tokenizer()), [byte_tokenizer().eos_token_id])
    limited = {"type": "string", "maxLength": 40}
    schema = {"type": "object", "properties": {"a": limited, "b": limited}, "required": ["a", "b"]}
    tokenizer = byte_tokenizer()
    for character in ("x", "中", "\\n"):
        state: Any = grammars.compile(schema).new_state()
        text: list[Any] = []
        preferred = tokenizer.encode(character, add_special_tokens=False)
        mask = torch.empty(state.words, dtype=torch.int32)
        while not state.finished:
            state.fill(mask)
            allowed = {n for n in range(VOCABULARY) if mask[n // 32] >> n % 32 & 1}
            quote = tokenizer.encode('"', add_special_tokens=False)[0]
            candidates = [*preferred, quote, *sorted(allowed)]
            if text and preferred[0] == text[-1] and len(preferred) > 1:
                candidates = [*preferred[1:], *candidates]
            token = next(t for t in candidates if t in allowed)
            state.accept(token)
            text.append(token)
        answer = json.loads(tokenizer.decode(text))
        assert set(answer) == {"a", "b"}
        assert all(40 <= len(value) <= 44 for value in answer.values()), answer
