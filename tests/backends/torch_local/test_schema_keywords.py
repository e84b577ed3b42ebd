"""What each keyword of JSON Schema allows, and which schemas are refused."""

import json

import pytest
from jsonschema import Draft202012Validator

from hunyuanocr.errors import InvalidSchema
from tests.backends.torch_local.grammar_support import accepts, check, field, grammars


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
    unconstrained = "(?" in str(part)  # the grammar ignores such patterns; the answer is validated afterwards
    for value in good:
        answer = f'{{"键":{value}}}'
        assert unconstrained or Draft202012Validator(schema).is_valid(json.loads(answer))
        assert accepts(schema, answer), value
        assert grammars().compile(schema).shortest_completion(answer) == ""
    for value in bad:
        assert not accepts(schema, f'{{"键":{value}}}'), value
    if not unconstrained:
        check(schema, grammars().compile(schema).shortest_completion(""))


def test_references_are_resolved():
    money = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    parts = {"total": {"$ref": "#/$defs/Money"}, "tax": {"anyOf": [{"$ref": "#/$defs/Money"}, {"type": "null"}]}}
    schema = {"$defs": {"Money": money}, "type": "object", "properties": parts, "required": ["total", "tax"]}
    assert accepts(schema, '{"total":{"amount":1},"tax":null}')
    assert accepts(schema, '{"total":{"amount":1},"tax":{"amount":2}}')
    assert not accepts(schema, '{"total":{"amount":"1"},"tax":null}')


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
def test_an_unsupported_schema_is_refused_with_a_reason(schema):
    with pytest.raises(InvalidSchema) as refusal:
        grammars().compile(schema)
    assert refusal.value.message


def nested(levels):
    return {"type": "array", "items": nested(levels - 1)} if levels else {"type": "null"}


@pytest.mark.parametrize("schema", [nested(40), nested(400)])
def test_deep_nesting_is_refused_too(schema):
    with pytest.raises(InvalidSchema):
        grammars().compile(schema)
