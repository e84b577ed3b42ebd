"""What a model may write under a JSON Schema: whatever it prefers and wherever it is cut, the answer is a value of the schema."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import Random

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from hunyuanocr.backends.torch_local.constrained_decoding import GrammarCompiler
from hunyuanocr.errors import BackendFailed, InvalidSchema
from tests.support.checkpoints import SPECIAL, byte_tokenizer
from tests.support.schemas import random_schema

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
def tokenizer(name):
    """The small one of bytes, or one with some hundreds of merges learned from Chinese, English and JSON."""
    small = byte_tokenizer()
    if name == "bytes":
        return small
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    learned.train_from_iterator(corpus(), trainer)
    learned.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL.values()])
    return PreTrainedTokenizerFast(tokenizer_object=learned, eos_token=SPECIAL["eos"], pad_token=SPECIAL["pad"])


def corpus():
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
def grammars(name="bytes"):
    t = tokenizer(name)
    return GrammarCompiler(t, len(t) + 45, [t.eos_token_id])  # the model's logits are wider than the tokenizer


@cache
def token_bytes(name):
    """The bytes of every token; None for special ones and for the padding of the logits."""
    t = tokenizer(name)
    back = {c: b for b, c in byte_alphabet().items()}
    special = set(t.all_special_ids) | set(t.added_tokens_decoder)
    found = [None] * (len(t) + 45)
    for token, i in t.get_vocab().items():
        found[i] = None if i in special else bytes(back[c] for c in token)
    return found


def byte_alphabet():
    """GPT-2's letters for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(rest)}


def allowed(state):
    """The ids that may come next, and whether the state calls them forced."""
    mask = torch.full((state.words,), -1, dtype=torch.int32)
    forced = state.fill(mask)
    return np.flatnonzero(np.unpackbits(mask.numpy().view(np.uint8), bitorder="little")), forced


@cache
def eagerness(name, kind):
    """What a model that reads nothing adds to its random logits: 'endless' hates to close anything."""
    closers = [t is None or any(c in b'"}]' for c in t) for t in token_bytes(name)]
    return np.where(closers, -50.0 if kind == "endless" else 0.0, 0.0)


def play(schema, name, kind, budget, seed):
    """Let a random model write; its bytes and the state that they led to."""
    rng = np.random.default_rng(seed)
    state = grammars(name).compile(schema).new_state()
    eos = tokenizer(name).eos_token_id
    written = b""
    for _ in range(budget):
        ids, forced = allowed(state)
        assert len(ids) > 0
        assert forced == (len(ids) == 1)
        token = ids[np.argmax(rng.random(len(ids)) + eagerness(name, kind)[ids])]
        state.accept(int(token))
        if token == eos:
            assert state.finished
            break
        written += token_bytes(name)[token]
    return written, state


def check(schema, answer):
    """The answer is a value of the schema in compact JSON with keys in their order, and all of it can be sent."""
    value = json.loads(answer, object_pairs_hook=falling)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    assert not re.search(r"\s", re.sub(r'"(\\.|[^"\\])*"', "", answer))
    json.dumps(value, ensure_ascii=False).encode()


def falling(pairs):
    keys = [key for key, _ in pairs]
    assert keys == sorted(keys, reverse=True)
    return dict(pairs)


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_whatever_the_model_writes_is_a_value_of_the_schema(start):
    for seed in range(start, start + 25):
        schema = random_schema(Random(seed))
        name = ("bytes", "learned")[seed % 2]
        for kind, budget in (("random", 40), ("random", 400), ("endless", 40), ("endless", 250)):
            written, state = play(schema, name, kind, budget, seed)
            begun = written.decode(errors="ignore")  # as a decoder that waits for complete characters
            assert len(written) - len(begun.encode()) < 4
            ending = grammars(name).compile(schema).shortest_completion(begun)
            check(schema, begun + ending)
            assert not (state.finished and ending)


def test_without_the_mask_the_same_model_writes_no_json():
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
def test_every_prefix_has_an_ending(answer):
    grammar = grammars().compile(RECEIPT)
    Draft202012Validator(RECEIPT).validate(json.loads(answer))
    assert grammar.shortest_completion(answer) == ""
    for end in range(len(answer)):
        ending = grammar.shortest_completion(answer[:end])
        assert ending
        whole = answer[:end] + ending
        Draft202012Validator(RECEIPT, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(json.loads(whole))
        state = grammar.new_state()
        for token in tokenizer("bytes").encode(whole, add_special_tokens=False):
            state.accept(token)  # the ending is of the grammar that made the masks
        assert state.finished


@pytest.mark.parametrize(
    ("begun", "ending"),
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
def test_the_ending_is_the_shortest_and_unread_values_are_null(begun, ending):
    assert grammars().compile(RECEIPT).shortest_completion(begun) == ending


@pytest.mark.parametrize(
    "foreign", ['{"x', '{ "总', '{"总金额":null,"paid":null,"tax":251', '{"总金额":"\n', '{"总金额":null}', "[", ANSWERS[0] + " "]
)
def test_text_of_another_grammar_has_no_ending(foreign):
    with pytest.raises(BackendFailed):
        grammars().compile(RECEIPT).shortest_completion(foreign)


def writes(schema, text, name="bytes"):
    """Whether the tokens of this text may be written and are a whole value."""
    state = grammars(name).compile(schema).new_state()
    try:
        for token in tokenizer(name).encode(text, add_special_tokens=False):
            state.accept(token)
    except BackendFailed:
        return False
    return bool(tokenizer(name).eos_token_id in allowed(state)[0])


MANY = [f"k{n}" for n in range(500)]


def field(part):
    return {"type": "object", "properties": {"键": part}, "required": ["键"]}


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ({"type": "string"}, ['"a"', '""', '"😀\\n\\"\\\\"', '"¥ 1"'],
         ['"\n"', '"\x01"', '"\\ud800"', '"\\u4e2d"', '"\\f"', "1"]),
        ({"type": "string", "maxLength": 3},
         ['"总金额"', '"\\n\\n\\n"', '"😀😀😀"', '""'], ['"abcd"', '"\\n\\n\\n\\n"', '"总金额总"', '"\x1f"']),
        ({"type": ["string", "null"], "maxLength": 0}, ['""', "null"], ['"a"']),
        ({"type": "integer"}, ["0", "-7", "12345678901234567890"], ["01", "1.0", "1e3", "123456789012345678901", "+1"]),
        ({"type": "number"}, ["0", "-0.5", "12.34567890"], [".5", "1.", "1e3", "1.234567891", "NaN", "Infinity"]),
        ({"type": "integer", "minimum": 7, "maximum": 120},
         ["7", "9", "10", "99", "100", "120"], ["6", "121", "200", "-7", "07"]),
        ({"type": "number", "minimum": 0.5, "maximum": 12.25},
         ["0.5", "0.51", "9", "12", "12.25", "12.2"], ["0.49", "0.4", "0", "12.26", "12.3", "13"]),
        ({"enum": ["a", None, 12, {"k": [1, "总"]}]}, ['"a"', "null", "12", '{"k":[1,"总"]}'], ['"b"', "1", '{"k": [1,"总"]}']),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["1", "null"], ['"a"']),
        ({"anyOf": [{"type": "number", "minimum": 1e300}, {"type": "null"}]}, ["null"], ["1"]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, ["[]", "[1]", "[1,2]"], ["[1,2,3]", "[1, 2]", "[1,]"]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, ["[]"], ["[1]"]),
        ({"type": "object", "properties": {}, "required": [], "additionalProperties": False}, ["{}"], ['{"a":1}']),
        ({"type": "object", "properties": {"z": {"type": "null"}, "a": {"type": "null"}}, "required": ["z", "a"]},
         ['{"z":null,"a":null}'], ['{"a":null,"z":null}', '{"a":null}', "{}"]),
    ],
)  # fmt: skip
def test_what_a_keyword_allows(part, good, bad):
    schema = field(part)
    for value in good:
        answer = f'{{"键":{value}}}'
        assert Draft202012Validator(schema).is_valid(json.loads(answer))
        assert writes(schema, answer), value
        assert grammars().compile(schema).shortest_completion(answer) == ""
    for value in bad:
        assert not writes(schema, f'{{"键":{value}}}'), value
    check(schema, grammars().compile(schema).shortest_completion(""))


@pytest.mark.parametrize(
    "schema",
    [
        True, False, {}, {"type": "object", "properties": {"a": {"type": "null"}}}, "x", None, [], {"type": "nothing"},
        {"type": "integer", "minimum": 2, "maximum": 1}, {"type": "number", "minimum": 1e300}, {"enum": []}, field(False),
        field({"anyOf": []}), field({"const": 1}), field({"oneOf": [{"type": "null"}]}), field({"$ref": "#"}), field({}),
        field({"type": "string", "pattern": "a"}), field({"type": "string", "format": "date"}),
        field({"type": "array", "items": {"type": "null"}, "minItems": 1}), field({"enum": ["a"], "type": "string"}),
        field({"enum": ["\ud800"]}), field({"enum": [float("nan")]}), field({"type": "number", "minimum": float("nan")}),
        {"type": "object", "properties": {key: {"type": "null"} for key in MANY}, "required": MANY},
        {"type": "object", "properties": {"\udc00": {"type": "null"}}, "required": ["\udc00"]},
        {"type": "object", "properties": {"a": object()}, "required": ["a"]},
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_followed_is_refused_with_a_reason(schema):
    with pytest.raises(InvalidSchema) as refused:
        grammars().compile(schema)
    assert refused.value.message


@pytest.mark.parametrize(
    "part",
    [
        {"type": "string", "maxLength": 10**9}, {"type": "array", "maxItems": 1000, "items": {"type": "null"}},
    ],
)  # fmt: skip
def test_costly_parts_take_little_time(part):
    schema = field(part)
    written, _ = play(schema, "bytes", "endless", 200, 0)
    begun = written.decode(errors="ignore")
    json.loads(begun + grammars().compile(schema).shortest_completion(begun))


def test_the_ending_of_a_long_text_takes_little_time():
    grammar = grammars().compile(field({"type": "string"}))
    assert grammar.shortest_completion('{"键":"' + "ab" * 3000) == '"}'


@pytest.mark.parametrize("name", ["bytes", "learned"])
def test_special_tokens_and_padding_are_never_allowed_and_the_stop_only_at_the_end(name):
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


def test_a_bare_number_is_finished_only_when_no_digit_may_follow():
    t = tokenizer("bytes")
    state = grammars().compile({"type": "integer", "maximum": 100, "minimum": 1}).new_state()
    done = []
    for token in t.encode("100", add_special_tokens=False):
        state.accept(token)
        done.append(state.finished)
    assert done == ([False, True] if len(done) == 2 else [False, False, True])


def test_a_token_that_is_not_allowed_is_an_error():
    state = grammars().compile(RECEIPT).new_state()
    with pytest.raises(BackendFailed):
        state.accept(tokenizer("bytes").encode("]", add_special_tokens=False)[0])
    with pytest.raises(BackendFailed):
        state.accept(tokenizer("bytes").eos_token_id)


def test_threads_compile_at_once_and_the_last_64_are_kept():
    mine = GrammarCompiler(tokenizer("bytes"), 300, [tokenizer("bytes").eos_token_id])
    schemas = [random_schema(Random(seed)) for seed in range(20)] * 4

    def begin(schema):
        return mine.compile(schema).shortest_completion("")

    with ThreadPoolExecutor(8) as pool:
        endings = list(pool.map(begin, schemas))
    assert endings == [grammars().compile(schema).shortest_completion("") for schema in schemas]
    first = mine.compile(RECEIPT)
    assert mine.compile(dict(RECEIPT)) is first
    for n in range(64):
        mine.compile(field({"enum": [n]}))
    assert mine.compile(RECEIPT) is not first


def test_a_string_that_never_ends_is_closed_at_the_longest_limit_and_the_next_field_has_its_turn():
    """A model that repeats one character for ever: in letters, in Chinese of three bytes each, in escapes."""
    grammars = GrammarCompiler(byte_tokenizer(), VOCABULARY := len(byte_tokenizer()), [byte_tokenizer().eos_token_id])
    limited = {"type": "string", "maxLength": 40}
    schema = {"type": "object", "properties": {"a": limited, "b": limited}, "required": ["a", "b"]}
    tokenizer = byte_tokenizer()
    for loved in ("x", "中", "\\n"):
        state, text = grammars.compile(schema).new_state(), []
        favourites = tokenizer.encode(loved, add_special_tokens=False)
        mask = torch.empty(state.words, dtype=torch.int32)
        while not state.finished:
            state.fill(mask)
            allowed = {n for n in range(VOCABULARY) if mask[n // 32] >> n % 32 & 1}
            quote = tokenizer.encode('"', add_special_tokens=False)[0]
            wanted = [*favourites, quote, *sorted(allowed)]
            if text and favourites[0] == text[-1] and len(favourites) > 1:
                wanted = [*favourites[1:], *wanted]
            token = next(t for t in wanted if t in allowed)
            state.accept(token)
            text.append(token)
        answer = json.loads(tokenizer.decode(text))
        assert set(answer) == {"a", "b"}
        assert all(40 <= len(value) <= 44 for value in answer.values()), answer
