"""Tokenizers, compiled grammars and a random model for the tests of constrained decoding."""

import json
import re
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from demo_model.chat_template import SPECIAL
from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler, GrammarState
from hunyuanocr.errors import BackendFailed
from tests.support.checkpoints import byte_tokenizer

ITEM = {
    "type": "object",
    "properties": {"名称": {"type": ["string", "null"], "maxLength": 8}, "qty": {"type": "integer"}},
    "required": ["名称", "qty"],
    "additionalProperties": False,
}
RECEIPT = {
    "type": "object",
    "properties": {
        "总金额": {"type": ["string", "null"]},
        "paid": {"type": ["boolean", "null"]},
        "tax": {"anyOf": [{"type": "number", "minimum": -1.5, "maximum": 250}, {"type": "null"}]},
        "kind": {"enum": ["cash", "card", "现金", None]},
        "items": {"type": ["array", "null"], "items": ITEM, "maxItems": 5},
    },
    "required": ["总金额", "paid", "tax", "kind", "items"],
    "additionalProperties": False,
}


@cache
def tokenizer(name: Any) -> Any:
    """`bytes`: one token per byte. `learned`: some hundred merges, trained on Chinese, English and JSON."""
    if name == "bytes":
        return byte_tokenizer()
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    learned.train_from_iterator(corpus(), trainer)
    learned.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL.values()])
    return PreTrainedTokenizerFast(tokenizer_object=learned, eos_token=SPECIAL["eos"], pad_token=SPECIAL["pad"])


def corpus() -> Iterator[str]:
    rng = Random(1)
    words = [
        "发票",
        "号码",
        "合计",
        "金额",
        "税额",
        "日期",
        "北京",
        "上海",
        "超市",
        "纯牛奶",
        "现金",
        "total",
        "amount",
        "date",
        "invoice",
    ]
    words += ["cash", "unit", "price", '"', "\n", "12", "00", "36.80"]
    for _ in range(400):
        keys = rng.sample(words, 4)
        yield json.dumps(
            {k: rng.choice([None, rng.choice(words), rng.randint(0, 999)]) for k in keys},
            ensure_ascii=False,
            separators=(",", ":"),
        )


@cache
def grammars(name: Any = "bytes") -> GrammarCompiler:
    t = tokenizer(name)
    return GrammarCompiler(t, len(t) + 45, [t.eos_token_id])  # the model's logits are wider than the tokenizer


@cache
def token_bytes(name: Any) -> list[bytes | None]:
    """The bytes of every token; None for special ones and for the padding of the logits."""
    t = tokenizer(name)
    byte_of = {c: b for b, c in byte_alphabet().items()}
    special = set(t.all_special_ids) | set(t.added_tokens_decoder)
    tokens: list[bytes | None] = [None] * (len(t) + 45)
    for token, i in t.get_vocab().items():
        tokens[i] = None if i in special else bytes(byte_of[c] for c in token)
    return tokens


def byte_alphabet() -> dict[Any, str]:
    """GPT-2's mapping from bytes to characters."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(rest)}


def allowed(state: GrammarState) -> Any:
    """The ids that may come next, and whether the state reports exactly one."""
    mask = torch.full((state.words,), -1, dtype=torch.int32)
    forced = state.fill(mask)
    return np.flatnonzero(np.unpackbits(mask.numpy().view(np.uint8), bitorder="little")), forced


@cache
def logit_bias(name: int, kind: Any) -> NDArray[Any]:
    """A bias for random logits. An `endless` model avoids closing strings, arrays and objects."""
    closers = [t is None or any(c in b'"}]' for c in t) for t in token_bytes(name)]
    return np.where(closers, -50.0 if kind == "endless" else 0.0, 0.0)


def sample(schema: Any, name: str, kind: Any, budget: Any, seed: Any) -> Any:
    """Sample from a random model. Return its output in bytes and the grammar state after it."""
    rng = np.random.default_rng(seed)
    state = grammars(name).compile(schema).new_state()
    eos = tokenizer(name).eos_token_id
    written = b""
    for _ in range(budget):
        ids, forced = allowed(state)
        assert len(ids) > 0
        assert forced == (len(ids) == 1)
        token = ids[np.argmax(rng.random(len(ids)) + logit_bias(name, kind)[ids])]
        state.accept(int(token))
        if token == eos:
            assert state.finished
            break
        written += token_bytes(name)[token]
    return written, state


def check(schema: Any, answer: Any) -> None:
    """The answer is a value of the schema as compact JSON, with keys in schema order, and encodes as UTF-8."""
    value = json.loads(answer, object_pairs_hook=descending)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    assert not re.search(r"\s", re.sub(r'"(\\.|[^"\\])*"', "", answer))
    json.dumps(value, ensure_ascii=False).encode()


def descending(pairs: Any) -> dict[Any, Any]:
    keys = [key for key, _ in pairs]
    assert keys == sorted(keys, reverse=True)
    return dict(pairs)


def accepts(schema: Any, text: Any, name: str = "bytes") -> bool:
    """Whether the grammar accepts the tokens of this text and the value is complete."""
    state = grammars(name).compile(schema).new_state()
    try:
        for token in tokenizer(name).encode(text, add_special_tokens=False):
            state.accept(token)
    except BackendFailed:
        return False
    return bool(tokenizer(name).eos_token_id in allowed(state)[0])


def field(part: Any) -> dict[Any, Any]:
    return {"type": "object", "properties": {"键": part}, "required": ["键"]}
