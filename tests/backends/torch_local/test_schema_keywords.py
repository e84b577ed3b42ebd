"""What each keyword of JSON Schema allows, and which schemas are refused."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hunyuanocr.errors import InvalidSchema
from tests.backends.torch_local.grammar_support import accepts, check, field, grammars


@pytest.mark.parametrize(
    ("part", "good", "bad"),
    [
        (
            {"type": "string"},
            ['"a"', '""', '"😀\\n\\"\\\\"', '"¥ 1"'],
            ['"\n"', '"\x01"', '"\\ud800"', '"\\u4e2d"', '"\\f"', "1"],
        ),
        (
            {"type": "string", "maxLength": 3},
            ['"总金额"', '"\\n\\n\\n"', '"😀😀😀"', '""'],
            ['"abcd"', '"\\n\\n\\n\\n"', '"总金额总"', '"\x1f"'],
        ),
        ({"type": ["string", "null"], "maxLength": 0}, ['""', "null"], ['"a"']),
        ({"type": "integer"}, ["0", "-7", "12345678901234567890"], ["01", "1.0", "1e3", "123456789012345678901", "+1"]),
        ({"type": "number"}, ["0", "-0.5", "12.34567890"], [".5", "1.", "1e3", "1.234567891", "NaN", "Infinity"]),
        (
            {"type": "integer", "minimum": 7, "maximum": 120},
            ["7", "9", "10", "99", "100", "120"],
            ["6", "121", "200", "-7", "07"],
        ),
        (
            {"type": "number", "minimum": 0.5, "maximum": 12.25},
            ["0.5", "0.51", "9", "12", "12.25", "12.2"],
            ["0.49", "0.4", "0", "12.26", "12.3", "13"],
        ),
        ({"enum": ["a", None, 12, {"k": [1, "总"]}]}, ['"a"', "null", "12", '{"k":[1,"总"]}'], ['"b"', "1", '{"k": [1,"总"]}']),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, ["1", "null"], ['"a"']),
        ({"anyOf": [{"type": "number", "minimum": 1e300}, {"type": "null"}]}, ["null"], ["1"]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, ["[]", "[1]", "[1,2]"], ["[1,2,3]", "[1, 2]", "[1,]"]),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 0}, ["[]"], ["[1]"]),
        ({"type": "object", "properties": {}, "required": [], "additionalProperties": False}, ["{}"], ['{"a":1}']),
        (
            {"type": "object", "properties": {"z": {"type": "null"}, "a": {"type": "null"}}, "required": ["z", "a"]},
            ['{"z":null,"a":null}'],
            ['{"a":null,"z":null}', '{"a":null}', "{}"],
        ),
    ],
)
def test_what_a_keyword_allows(part: dict[str, Any], good: list[str], bad: list[str]) -> None:
    schema = field(part)
    for value in good:
        answer = f'{{"键":{value}}}'
        assert Draft202012Validator(schema).is_valid(json.loads(answer))
        assert accepts(schema, answer), value
        assert grammars().compile(schema).shortest_completion(answer) == ""
    for value in bad:
        assert not accepts(schema, f'{{"键":{value}}}'), value
    check(schema, grammars().compile(schema).shortest_completion(""))


MANY = [f"k{n}" for n in range(500)]


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": "object", "properties": {"a": {"type": "null"}}},
        "x",
        None,
        [],
        {"type": "nothing"},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"type": "number", "minimum": 1e300},
        {"enum": []},
        field(False),
        field({"anyOf": []}),
        field({"const": 1}),
        field({"oneOf": [{"type": "null"}]}),
        field({"$ref": "#"}),
        field({}),
        field({"type": "string", "pattern": "a"}),
        field({"type": "string", "format": "date"}),
        field({"type": "array", "items": {"type": "null"}, "minItems": 1}),
        field({"enum": ["a"], "type": "string"}),
        field({"enum": ["\ud800"]}),
        field({"enum": [float("nan")]}),
        field({"type": "number", "minimum": float("nan")}),
        {"type": "object", "properties": {key: {"type": "null"} for key in MANY}, "required": MANY},
        {"type": "object", "properties": {"\udc00": {"type": "null"}}, "required": ["\udc00"]},
        {"type": "object", "properties": {"a": object()}, "required": ["a"]},
    ],
)
def test_an_unsupported_schema_is_refused_with_a_reason(schema: Any) -> None:
    with pytest.raises(InvalidSchema) as refusal:
        grammars().compile(schema)
    assert refusal.value.message
