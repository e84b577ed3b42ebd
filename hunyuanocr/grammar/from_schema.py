"""A JSON Schema as rules of what may be written: compact JSON, keys in the order of `properties`, no free white space.

xgrammar has a converter of its own; it is not used, for in 0.2.8 it lets control characters into strings with a length, halves of
surrogate pairs into all, spaces into values of any kind, digits without end, and for `allOf` any value at all.

Followed: type, properties, required, items, prefixItems, minItems, maxItems, enum, const, anyOf, oneOf, allOf, `$ref` within the
schema, minLength, maxLength, pattern, the formats of days and times, minimum, maximum and their exclusive forms. Left to the
validation of the answer: all other keywords, patterns with look-around, and a length beside a pattern. Objects have no keys but
those named, unless none is named. Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.grammar import strings
from hunyuanocr.grammar.ast import Rule, alternation, concat, literal, optional, repetition
from hunyuanocr.grammar.numbers import number
from hunyuanocr.schema_validator import check_form, validator

_MAX_DEPTH, _MAX_PARTS, _MAX_PROPERTIES, _MAX_ITEMS = 32, 5000, 128, 100_000
_LEAP = r"([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
_DAY = (
    r"([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    rf"|{_LEAP}-02-29)"
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
_FORMATS = {"date": f"^{_DAY}$", "time": f"^{_TIME}$", "date-time": f"^{_DAY}T{_TIME}$"}
_INTEGER = number(None, None, None, None, whole=True)
_NUMBER = number(None, None, None, None, whole=False)
_BOOLEAN = alternation(literal("true"), literal("false"))
_NULL = literal("null")
_SAYS_NOTHING = {"$defs", "definitions", "$schema", "$id", "$comment", "title", "description"}
_SAYS_WHICH_OBJECT = {"properties", "required", "anyOf", "oneOf", "allOf", "$ref", "enum", "const"}
_KINDS_BY_KEYWORD = {
    "properties": "object", "required": "object", "additionalProperties": "object", "items": "array", "prefixItems": "array",
    "minItems": "array", "maxItems": "array", "pattern": "string", "minLength": "string", "maxLength": "string",
    "format": "string", "minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
}  # fmt: skip


class _Unsatisfiable(Exception):
    """No value is valid here; the message says why. A choice goes on without it, a property that may be missing is missing."""


def grammar_from_schema(schema: Mapping[str, Any]) -> Rule:
    """The rules of the schema's values.

    Raises InvalidSchema if it is no JSON Schema, if it says nothing about the answer, if no value is valid, if it refers to
    itself in a circle or outside of itself, or if it is too large.
    """
    check_form(schema)
    try:
        return _Converter(schema).top()
    except _Unsatisfiable as e:
        raise InvalidSchema(f"No value is valid by the schema: {e}") from e


class _Converter:
    """One schema; its definitions become rules once, however often they are referred to."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._definitions: dict[str, Rule] = {}
        self._open: list[str] = []  # the references that are being followed
        self._depth = 0
        self._parts = 0

    def top(self) -> Rule:
        if not isinstance(self._schema, Mapping) or not set(self._schema) - _SAYS_NOTHING:
            raise InvalidSchema("The schema says nothing about the answer.")
        if self._schema.get("type") == "object" and set(self._schema).isdisjoint(_SAYS_WHICH_OBJECT):
            raise InvalidSchema("The schema is of an object without properties.")
        return self.value(self._schema)

    def value(self, part: Any) -> Rule:
        """The values of one part of the schema. Raises _Nothing if there are none."""
        if part is False:
            raise _Unsatisfiable("a part of it is 'false'.")
        if not isinstance(part, Mapping):
            part = {}
        self._depth, self._parts = self._depth + 1, self._parts + 1
        if self._depth > _MAX_DEPTH or self._parts > _MAX_PARTS:
            raise InvalidSchema("The schema is nested too deeply or has too many parts.")
        try:
            return self._value(part)
        finally:
            self._depth -= 1

    def _value(self, part: Mapping[str, Any]) -> Rule:
        if "$ref" in part:
            return self._reference(part)
        if "allOf" in part:
            merged: dict[str, Any] = {k: v for k, v in part.items() if k != "allOf"}
            for other in part["allOf"]:
                merged = _merged(merged, self._target(other))
            return self.value(merged)
        for key in ("anyOf", "oneOf"):
            if key in part:
                rest = {k: v for k, v in part.items() if k != key}
                return self._any([_merged(rest, option) for option in part[key]])
        if "const" in part or "enum" in part:
            return self._literals(part)
        kinds = part.get("type")
        if kinds is None:
            kind = next((_KINDS_BY_KEYWORD[k] for k in part if k in _KINDS_BY_KEYWORD), None)
            kinds = kind or ["string", "number", "boolean", "null"]
        return self._of(part, kinds) if isinstance(kinds, str) else self._any([{**part, "type": kind} for kind in kinds])

    def _of(self, part: Mapping[str, Any], kind: str) -> Rule:
        match kind:
            case "object":
                return self._object(part)
            case "array":
                return self._array(part)
            case "string":
                return _string(part)
            case "boolean":
                return _BOOLEAN
            case "null":
                return _NULL
            case name:
                return _number(part, whole=name == "integer")

    def _any(self, options: list[Any]) -> Rule:
        """One of the options that have a value."""
        found, reason = [], "an empty choice."
        for option in options:
            try:
                found.append(self.value(option))
            except _Unsatisfiable as e:
                reason = str(e)
        if not found:
            raise _Unsatisfiable(reason)
        return alternation(*dict.fromkeys(found))

    def _reference(self, part: Mapping[str, Any]) -> Rule:
        reference = part["$ref"]
        if reference in self._open:
            raise InvalidSchema(f"The schema refers to itself in a circle ({reference[:80]}).")
        alone = len(part) == 1
        if alone and reference in self._definitions:
            return self._definitions[reference]
        self._open.append(reference)
        try:
            rule = self.value(_merged({k: v for k, v in part.items() if k != "$ref"}, self._at(reference)))
        finally:
            self._open.pop()
        if alone:
            self._definitions[reference] = rule
        return rule

    def _target(self, part: Any) -> Any:
        """The part, or where its reference leads, if it has one."""
        followed: list[str] = []
        while isinstance(part, Mapping) and "$ref" in part:
            if part["$ref"] in followed or part["$ref"] in self._open:
                raise InvalidSchema(f"The schema refers to itself in a circle ({part['$ref'][:80]}).")
            followed.append(part["$ref"])
            part = _merged({k: v for k, v in part.items() if k != "$ref"}, self._at(part["$ref"]))
        return part

    def _at(self, reference: str) -> Any:
        if reference != "#" and not reference.startswith("#/"):
            raise InvalidSchema(f"The schema refers to {reference[:80]}, which is no place within it.")
        target: Any = self._schema
        for step in reference.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, Mapping) and name in target:
                target = target[name]
            else:
                raise InvalidSchema(f"The schema refers to {reference[:80]}, which it does not have.")
        return target

    def _literals(self, part: Mapping[str, Any]) -> Rule:
        values = [part["const"]] if "const" in part else part["enum"]
        kinds = validator({k: part[k] for k in ("type", "enum") if k in part}, formats=False)
        kept = [value for value in values if kinds.is_valid(value)]
        if not kept:
            raise _Unsatisfiable("an 'enum' or 'const' without a value of its type.")
        try:
            return alternation(
                *(literal(json.dumps(v, ensure_ascii=False, separators=(",", ":"), allow_nan=False)) for v in kept)
            )
        except ValueError as e:
            raise InvalidSchema(f"The schema holds a value that JSON cannot write: {e}") from e

    def _array(self, part: Mapping[str, Any]) -> Rule:
        least, most = int(part.get("minItems", 0)), part.get("maxItems")
        most = None if most is None or most > _MAX_ITEMS else int(most)
        first = part.get("prefixItems", [])
        if most is not None and most < least:
            raise _Unsatisfiable(f"minItems {least} is above maxItems {most}.")
        items = [self.value(item) for item in first[:most]]
        least, most = max(0, least - len(items)), None if most is None else most - len(items)
        try:
            item = self.value(part.get("items", {})) if most != 0 else _NULL
        except _Unsatisfiable:
            if least:
                raise
            most, item = 0, _NULL
        comma = literal(",")
        body = [r for n, i in enumerate(items) for r in ((comma, i) if n else (i,))]
        if most == 0:
            return concat(literal("["), *body, literal("]"))
        if items:
            return concat(literal("["), *body, repetition(concat(comma, item), least, most), literal("]"))
        more = concat(item, repetition(concat(comma, item), max(0, least - 1), None if most is None else most - 1))
        return concat(literal("["), more if least else optional(more), literal("]"))

    def _object(self, part: Mapping[str, Any]) -> Rule:
        properties = part.get("properties", {})
        required = part.get("required", [])
        if not properties and not required:
            return self._map(part)
        members: list[tuple[Rule, bool]] = []
        for key in dict.fromkeys([*properties, *required]):
            try:
                value = self.value(properties.get(key, part.get("additionalProperties", {})))
            except _Unsatisfiable:
                if key in required:
                    raise
                continue
            members.append((concat(literal(json.dumps(key, ensure_ascii=False) + ":"), value), key in required))
        if len(members) > _MAX_PROPERTIES:
            raise InvalidSchema(f"An object of the schema has more than {_MAX_PROPERTIES} properties.")
        return concat(literal("{"), _members(members), literal("}"))

    def _map(self, part: Mapping[str, Any]) -> Rule:
        """An object whose keys the schema does not name."""
        try:
            value = self.value(part.get("additionalProperties", {}))
        except _Unsatisfiable:
            return literal("{}")
        member = concat(strings.STRING, literal(":"), value)
        return concat(literal("{"), optional(concat(member, repetition(concat(literal(","), member), 0, None))), literal("}"))


def _members(members: list[tuple[Rule, bool]]) -> Rule:
    """The members in their order, with commas between those that are there."""
    comma = literal(",")
    later = [following if must else optional(following) for rule, must in members for following in [concat(comma, rule)]]
    options: list[Rule] = []
    for index, (rule, must) in enumerate(members):
        options.append(concat(rule, *later[index + 1 :]))
        if must:
            return alternation(*options)
    return alternation(*options, literal(""))


def _string(part: Mapping[str, Any]) -> Rule:
    least, most = int(part.get("minLength", 0)), part.get("maxLength")
    if most is not None and most < least:
        raise _Unsatisfiable(f"minLength {least} is above maxLength {most}.")
    expression = part.get("pattern", _FORMATS.get(part.get("format", "")))
    if expression is not None:
        try:
            return strings.pattern(expression)
        except strings.Unwritable:
            pass  # the validation of the answer knows the pattern too
    return strings.string(least, None if most is None else int(most))


def _number(part: Mapping[str, Any], *, whole: bool) -> Rule:
    bounds = [part.get(key) for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")]
    free = _INTEGER if whole else _NUMBER
    rule = free if bounds == [None] * 4 else number(*bounds, whole=whole)
    if rule is None:
        raise _Unsatisfiable("no number lies within the bounds.")
    return rule


def _merged(part: Mapping[str, Any], other: Any) -> Any:
    """Both together: properties and required keys of both, of other keywords those of `part` first."""
    if other is False:
        return False
    if not isinstance(other, Mapping):
        return part
    both = {**other, **part}
    if "properties" in part and "properties" in other:
        both["properties"] = {**other["properties"], **part["properties"]}
    if "required" in part and "required" in other:
        both["required"] = list(dict.fromkeys([*other["required"], *part["required"]]))
    return both
