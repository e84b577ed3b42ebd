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

RECEIPT = {
    "type": "object",
    "properties": {
        "总金额": {"type": ["string", "null"]},
        "date": {"type": "string", "format": "date"},
        "paid": {"type": "boolean"},
        "tax": {"type": "number", "minimum": -1.5, "maximum": 250},
        "kind": {"enum": ["cash", "card", "现金"]},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d+$"},
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"名称": {"type": "string", "minLength": 2, "maxLength": 8}, "qty": {"type": "integer"}},
                "required": ["名称"],
            },
        },
    },
    "required": ["总金额", "tax", "items"],
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
    '{"总金额":"¥36.80 \\"net\\"\\n","date":"2026-02-28","paid":false,"tax":-1.25,"kind":"现金","code":"AB-12",'
    '"items":[{"名称":"纯牛奶","qty":-20}]}',
    '{"总金额":null,"tax":249.99,"kind":"card","items":[{"名称":"ab"},{"名称":"\\\\\\/x"}]}',
    '{"总金额":"","paid":true,"tax":0,"code":"ZZ-0","items":[{"名称":"😀😀","qty":0},{"名称":"  "}]}',
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
        ("", '{"总金额":null,"tax":0,"items":[{"名称":"  "}]}'),
        ('{"总金额":"¥', '","tax":0,"items":[{"名称":"  "}]}'),
        ('{"总金额":"\\', '"","tax":0,"items":[{"名称":"  "}]}'),
        ('{"总金额":nu', 'll,"tax":0,"items":[{"名称":"  "}]}'),
        ('{"总金额":null,"tax":-', '1,"items":[{"名称":"  "}]}'),
        ('{"总金额":null,"tax":2.', '0,"items":[{"名称":"  "}]}'),
        ('{"总金额":null,"tax":2,"k', 'ind":"现金","items":[{"名称":"  "}]}'),
        ('{"总金额":null,"tax":2,"kind":"c', 'ash","items":[{"名称":"  "}]}'),
        ('{"总金额":null,"tax":2,"items":[{"名称":"ab"},', '{"名称":"  "}]}'),
        ('{"总金额":null,"tax":2,"items":[{"名称":"ab"}', "]}"),
    ],
)
def test_the_ending_is_the_shortest_and_unread_values_are_null(begun, ending):
    assert grammars().compile(RECEIPT).shortest_completion(begun) == ending


@pytest.mark.parametrize(
    "foreign", ['{"x', '{ "总', '{"总金额":null,"tax":251', '{"总金额":"\n', '{"总金额":null}', "[", ANSWERS[0] + " "]
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


def field(part):
    return {"type": "object", "properties": {"键": part}, "required": ["键"]}


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        ({"type": "string"}, ['"a"', '""', '"😀\\n\\"\\\\"', '"¥ 1"'],
         ['"\n"', '"\x01"', '"\\ud800"', '"\\u4e2d"', '"\\f"', "1"]),
        ({"type": "string", "maxLength": 3},
         ['"总金额"', '"\\n\\n\\n"', '"😀😀😀"', '""'], ['"abcd"', '"\\n\\n\\n\\n"', '"总金额总"', '"\x1f"']),
        ({"type": "string", "minLength": 2}, ['"ab"', '"总金额总金额"'], ['"a"', '"\\n"']),
        ({"type": "string", "pattern": "元"}, ['"12元"', '"元"', '"元\\n"'], ['"12"', '"\\n"']),
        ({"type": "string", "pattern": "^(a|bc)?[0-9]{2,3}$"}, ['"12"', '"a123"', '"bc12"'], ['"1"', '"a1234"', '"b12"']),
        ({"type": "string", "pattern": "^a|b$"}, ['"ax"', '"xb"', '"a"'], ['"xa"', '"bx"']),
        ({"type": "string", "pattern": "^[^a-c]$"}, ['"d"', '"总"', '"\\""', '"\\n"'], ['"a"', '"dd"']),
        ({"type": "string", "pattern": "(?:\\b)ab"}, ['"free"'], ["1"]),
        ({"type": "string", "pattern": "(?i)^total$"}, ['"Total"', '"total"'], ["1"]),
        ({"type": "string", "format": "date"}, ['"2026-11-30"'], ['"2026-11-31"', '"2026-13-01"', '"20 Nov"']),
        ({"type": "string", "format": "date-time"},
         ['"2026-11-20T12:00:01Z"', '"2026-11-20T12:00:01+08:00"'], ['"2026-11-20T12:00:01"']),
        ({"type": "string", "format": "unknown"}, ['"any"'], []),
        ({"type": "integer"}, ["0", "-7", "12345678901234567890"], ["01", "1.0", "1e3", "123456789012345678901", "+1"]),
        ({"type": "number"}, ["0", "-0.5", "12.34567890"], [".5", "1.", "1e3", "1.234567891", "NaN", "Infinity"]),
        ({"type": "integer", "minimum": 7, "maximum": 120},
         ["7", "9", "10", "99", "100", "120"], ["6", "121", "200", "-7", "07"]),
        ({"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 3}, ["-2", "0", "2"], ["-3", "3", "-12"]),
        ({"type": "number", "minimum": 0.5, "maximum": 12.25},
         ["0.5", "0.51", "9", "12", "12.25", "12.2"], ["0.49", "0.4", "0", "12.26", "12.3", "13"]),
        ({"type": "number", "exclusiveMinimum": 0}, ["0.1", "0.00000001", "1000000"], ["0", "0.0", "-1"]),
        ({"enum": ["a", None, 12, {"k": [1, "总"]}]}, ['"a"', "null", "12", '{"k":[1,"总"]}'], ['"b"', "1", '{"k": [1,"总"]}']),
        ({"type": "string", "enum": ["a", None, 12]}, ['"a"'], ["null", "12"]),
        ({"const": True}, ["true"], ["false", "1"]),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["1", "null"], ['"a"']),
        ({"oneOf": [{"type": "integer"}, False]}, ["1"], ["null"]),
        ({"allOf": [{"type": "string"}, {"maxLength": 1}]}, ['"a"'], ['"ab"', "1"]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
         ["[1]", "[1,2]"], ["[]", "[1,2,3]", "[1, 2]", "[1,]"]),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "items": False},
         ["[1,null]"], ["[1,null,1]", "[null]"]),
        ({"type": "array", "items": False}, ["[]"], ["[1]"]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, ["{}", '{"a":1,"总":2}'], ['{"a":"b"}', '{"a": 1}']),
        ({"type": "object", "properties": {"b": {"type": "null"}, "a": False}}, ["{}", '{"b":null}'], ['{"a":1}', '{"c":null}']),
        ({"properties": {"z": {"type": "null"}, "a": {"type": "null"}}},
         ['{"z":null,"a":null}', '{"a":null}', "{}"], ['{"a":null,"z":null}']),
        ({}, ['"a"', "1", "null", "true"], ["[1]", "maybe"]),
    ],
)  # fmt: skip
def test_what_a_keyword_allows(part, good, bad):
    schema = field(part)
    written_freely = "(?" in str(part)  # patterns that are left to the validation of the answer
    for value in good:
        answer = f'{{"键":{value}}}'
        assert written_freely or Draft202012Validator(schema).is_valid(json.loads(answer))
        assert writes(schema, answer), value
        assert grammars().compile(schema).shortest_completion(answer) == ""
    for value in bad:
        assert not writes(schema, f'{{"键":{value}}}'), value
    if not written_freely:
        check(schema, grammars().compile(schema).shortest_completion(""))


def test_references_are_followed_and_shared():
    money = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    parts = {"total": {"$ref": "#/$defs/Money"}, "tax": {"anyOf": [{"$ref": "#/$defs/Money"}, {"type": "null"}]}}
    schema = {"$defs": {"Money": money}, "type": "object", "properties": parts, "required": ["total", "tax"]}
    assert writes(schema, '{"total":{"amount":1},"tax":null}')
    assert writes(schema, '{"total":{"amount":1},"tax":{"amount":2}}')
    assert not writes(schema, '{"total":{"amount":"1"},"tax":null}')


NODE = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
DOUBLING = {
    "$defs": {f"d{n}": {"type": "array", "minItems": 2, "items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(30)}
    | {"d30": {"type": "null"}},
    "$ref": "#/$defs/d0",
}


@pytest.mark.parametrize(
    "schema",
    [
        True, False, {}, {"$defs": {"a": {"type": "string"}}}, {"type": "object"}, "x", None, [], {"type": "nothing"},
        {"type": "string", "minLength": 3, "maxLength": 2}, {"type": "array", "minItems": 2, "maxItems": 1},
        {"type": "integer", "minimum": 2, "maximum": 1}, {"type": "number", "minimum": 1e300}, {"enum": []},
        {"enum": [1], "type": "string"},
        field(False), field({"anyOf": []}), field({"anyOf": [False, False]}), field({"type": "string", "pattern": "["}),
        field({"type": "string", "pattern": "(" * 2000}), field({"type": "string", "pattern": "." * 900}),
        field({"type": "array", "items": {"type": "null"}, "minItems": 10**9}), NODE, {"$ref": "#"}, DOUBLING,
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
        field({"$ref": "https://example.com/schema"}), field({"$ref": "#/$defs/absent"}), field({"const": "\ud800"}),
        field({"const": float("nan")}), field({"type": "number", "minimum": float("nan")}),
        {"type": "object", "properties": {f"k{n}": {"type": "null"} for n in range(500)}},
        {"type": "object", "properties": {"\udc00": {}}}, {"type": "object", "properties": {"a": object()}},
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_followed_is_refused_with_a_reason(schema):
    with pytest.raises(InvalidSchema) as refused:
        grammars().compile(schema)
    assert refused.value.message


def nested(levels):
    return {"type": "array", "items": nested(levels - 1)} if levels else {"type": "null"}


@pytest.mark.parametrize("schema", [nested(40), nested(400)])
def test_deep_nesting_is_refused_too(schema):
    with pytest.raises(InvalidSchema):
        grammars().compile(schema)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "string", "maxLength": 10**9}, {"type": "string", "pattern": "^(a*)*b$"},
        {"type": "string", "pattern": "(.*)*x(.*)*"}, {"type": "array", "maxItems": 10**400, "items": {"type": "null"}},
        {"type": "string", "pattern": "^([0-9]{0,30}){0,30}$"}, {"type": "array", "maxItems": 10**8, "items": {"type": "null"}},
        {"type": "string", "pattern": "^.{0,30}(.{1,5}元){1,3}.*$"}, {"type": "string", "pattern": "^(|a|b){5}(x?){1000}$"},
    ],
)  # fmt: skip
def test_costly_parts_take_little_time(part):
    schema = field(part)
    written, _ = play(schema, "bytes", "endless", 200, 0)
    begun = written.decode(errors="ignore")
    json.loads(begun + grammars().compile(schema).shortest_completion(begun))


def test_the_ending_of_a_long_text_with_many_ways_to_read_it_takes_little_time():
    grammar = grammars().compile(field({"type": "string", "pattern": "a.*b"}))
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
        mine.compile(field({"const": n}))
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
