"""The grammar of an answer schema (`fields.schema.answer_schema`): compact JSON, keys in order, no white space between tokens.

xgrammar's own converter is not used: version 0.2.8 accepts control characters in strings with a length, unpaired surrogates in
all strings, and numbers with unlimited digits.

Supported is what an answer schema contains: `type` (one or several), `properties` that are all required, `items`, `maxItems`,
`maxLength`, `minimum`, `maximum`, `enum` and `anyOf`. Everything else raises InvalidSchema; nothing is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.grammar.ast import Rule, alternation, concat, literal, optional, repetition
from hunyuanocr.grammar.numbers import number
from hunyuanocr.grammar.strings import string
from hunyuanocr.schema_validator import check_form

_MAX_PROPERTIES = 128
_BOOLEAN = alternation(literal("true"), literal("false"))
_NULL = literal("null")
_COMMA = literal(",")
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}), "array": frozenset({"items", "maxItems"}),
    "string": frozenset({"maxLength"}), "number": frozenset({"minimum", "maximum"}), "integer": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(), "null": frozenset(),
}  # fmt: skip


def grammar_from_schema(schema: Mapping[str, Any]) -> Rule:
    """Return the rule of the schema's values.

    Raises InvalidSchema for an invalid schema, an unsupported keyword, a schema without a valid value, and one that is too large.
    """
    check_form(schema)
    rule = _value(schema)
    if rule is None:
        raise InvalidSchema("The schema has no valid value: no number lies within its bounds.")
    return rule


def _value(part: Any) -> Rule | None:
    """Return the rule of one part of the schema; None if it has no valid value."""
    if not isinstance(part, Mapping):
        raise InvalidSchema("A part of the answer schema is not an object.")
    if "enum" in part:
        _reject_other_keywords(part, frozenset({"enum"}))
        return _enum(part["enum"])
    if "anyOf" in part:
        _reject_other_keywords(part, frozenset({"anyOf"}))
        return _any_of([_value(option) for option in part["anyOf"]])
    types = part.get("type", [])
    names = [types] if isinstance(types, str) else list(types)
    _reject_other_keywords(part, frozenset({"type"}).union(*(_KEYWORDS[name] for name in names)))
    return _any_of([_typed(part, name) for name in names])


def _reject_other_keywords(part: Mapping[str, Any], supported: frozenset[str]) -> None:
    if unsupported := sorted(set(part) - supported):
        raise InvalidSchema(f"The answer schema has an unsupported keyword: {unsupported[0][:80]}.")


def _any_of(options: Sequence[Rule | None]) -> Rule | None:
    """Return one of the options that have a valid value."""
    possible = dict.fromkeys(option for option in options if option is not None)
    return alternation(*possible) if possible else None


def _typed(part: Mapping[str, Any], name: str) -> Rule | None:
    match name:
        case "object":
            return _object(part)
        case "array":
            return _array(part)
        case "string":
            return string(_integer(part.get("maxLength")))
        case "boolean":
            return _BOOLEAN
        case "null":
            return _NULL
        case _:
            return number(part.get("minimum"), part.get("maximum"), integer=name == "integer")


def _integer(value: float | None) -> int | None:
    """Return a count of the schema as an integer: JSON Schema allows 3.0."""
    return None if value is None else int(value)


def _enum(values: Sequence[Any]) -> Rule:
    if not values:
        raise InvalidSchema("An 'enum' of the schema is empty.")
    try:
        return alternation(*(literal(json.dumps(v, ensure_ascii=False, separators=(",", ":"), allow_nan=False)) for v in values))
    except ValueError as e:
        raise InvalidSchema(f"A value of the schema cannot be written as JSON: {e}") from e


def _array(part: Mapping[str, Any]) -> Rule:
    max_items = _integer(part.get("maxItems"))
    item = _value(part.get("items", {})) if max_items != 0 else None
    if item is None:
        return literal("[]")
    more = repetition(concat(_COMMA, item), 0, None if max_items is None else max_items - 1)
    return concat(literal("["), optional(concat(item, more)), literal("]"))


def _object(part: Mapping[str, Any]) -> Rule | None:
    properties = part.get("properties", {})
    if set(part.get("required", [])) != set(properties) or part.get("additionalProperties", False) is not False:
        raise InvalidSchema("An object of the answer schema has optional properties.")
    if len(properties) > _MAX_PROPERTIES:
        raise InvalidSchema(f"An object of the schema has more than {_MAX_PROPERTIES} properties.")
    members: list[Rule] = []
    for key, inner in properties.items():
        value = _value(inner)
        if value is None:
            return None
        members += [_COMMA] if members else []
        members.append(concat(literal(json.dumps(key, ensure_ascii=False) + ":"), value))
    return concat(literal("{"), *members, literal("}"))
