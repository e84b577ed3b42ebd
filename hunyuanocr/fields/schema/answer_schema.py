"""The JSON Schema that constrains a language model's answer: the client's keys, each value as printed or null, all limited.

Values are requested as printed, whatever their type in the client's schema: `client_schema.coerce` converts them, as for backends
without a language model, and printed text can be grounded on the page. Enumerations, booleans and nested objects are requested in
the form of the client's schema, with limits added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hunyuanocr.errors import InvalidSchema
from hunyuanocr.fields.field_builder import FREE_TEXT_TYPES
from hunyuanocr.fields.schema.client_schema import is_money_or_quantity, types_of
from hunyuanocr.fields.schema.refs import resolve
from hunyuanocr.types import FieldSpec, FieldType

_MAX_DEPTH = 8  # levels of a client's schema, which may be recursive
_MAX_PARTS = 500  # subschemas, with references expanded
_MAX_NUMBER = 10**12  # if the client's schema has no bound
_MAX_INNER_ITEMS = 16  # of an array within an array


@dataclass(frozen=True)
class LengthLimits:
    """The maximum length of words (names, addresses, free text), codes (identifiers, phones) and values (amounts, dates …) in
    characters, and the maximum number of rows.
    """

    words: int
    code: int
    value: int
    rows: int

    def max_length(self, type: FieldType) -> int:
        """Return the maximum number of characters of a value of this type."""
        if type in FREE_TEXT_TYPES:
            return self.words
        return self.code if type in (FieldType.IDENTIFIER, FieldType.PHONE) else self.value


def build_answer_schema(
    specs: Sequence[FieldSpec],
    columns: Sequence[tuple[str, FieldType]],
    limits: LengthLimits,
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the schema of an object with the requested keys in order; `columns` are those of rows without a client's schema.

    Raises InvalidSchema if the client's schema has an object without properties, or is too large or recursive.
    """
    builder = _Builder(limits, schema or {})
    parts = resolve(schema, schema).get("properties", {}) if schema else {}
    return _object({spec.key: builder.field(spec, columns, parts.get(spec.key) if schema else None) for spec in specs})


def printed_value(type: FieldType, limits: LengthLimits) -> dict[str, Any]:
    """Return the schema of a value as printed, or null."""
    return {"type": ["string", "null"], "maxLength": limits.max_length(type)}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _rows(item: Mapping[str, Any], max_items: int) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": dict(item), "maxItems": max_items}


def _or_null(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(part), {"type": "null"}]}


@dataclass
class _Builder:
    """Converts one client's schema. `left` is the number of subschemas that may follow."""

    limits: LengthLimits
    schema: Mapping[str, Any]
    left: int = field(default=_MAX_PARTS)

    def field(self, spec: FieldSpec, columns: Sequence[tuple[str, FieldType]], part: Any) -> dict[str, Any]:
        if part is not None:
            return self.part(part, spec.type)
        if spec.type is FieldType.ROWS:
            return _rows(_object({name: printed_value(type, self.limits) for name, type in columns}), self.limits.rows)
        return printed_value(spec.type, self.limits)

    def part(self, given: Any, type: FieldType = FieldType.TEXT, depth: int = 0, *, typed: bool = False) -> dict[str, Any]:
        """Return the schema for a part of the client's schema; `typed`: in the client's types, not as printed."""
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise InvalidSchema("The schema is recursive or too large.", hint="Send a flat schema with the required fields only.")
        if (values := _enumerated_values(given, self.schema)) is not None:
            return _enumeration(values)
        part = resolve(given, self.schema)
        types = types_of(part)
        if "boolean" in types:
            return {"type": ["boolean", "null"]}
        if "array" in types:
            return self._array(part, depth, typed=typed)
        if is_money_or_quantity(part) and not typed:
            return printed_value(FieldType.MONEY, self.limits)
        if "object" in types or "properties" in part:
            return _or_null(self._typed_object(part, depth))
        return _number(part, types) if typed and _numeric(types) else self._text(part, type)

    def _text(self, part: Mapping[str, Any], type: FieldType) -> dict[str, Any]:
        printed = printed_value(FieldType.QUANTITY if _numeric(types_of(part)) else type, self.limits)
        return {**printed, "maxLength": int(min(part.get("maxLength", printed["maxLength"]), printed["maxLength"]))}

    def _array(self, part: Mapping[str, Any], depth: int, *, typed: bool) -> dict[str, Any]:
        """Return an array: its elements and columns are requested as printed, nested arrays in the client's types."""
        max_items = int(min(part.get("maxItems", self.limits.rows), _MAX_INNER_ITEMS if depth else self.limits.rows))
        items = part.get("items", {})
        element = resolve(items, self.schema)
        if isinstance(element.get("properties"), Mapping) and not is_money_or_quantity(element) and not depth:
            columns = {key: self.part(column, depth=1) for key, column in element["properties"].items()}
            return _rows(_object(columns), max_items)
        return _rows(self.part(items, depth=depth + 1, typed=typed or depth > 0), max_items)

    def _typed_object(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = part.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise InvalidSchema("The schema has an object without 'properties'.", hint="List the properties of every object.")
        return _object({key: self.part(inner, depth=depth + 1, typed=True) for key, inner in properties.items()})


def _numeric(types: set[str]) -> bool:
    return "string" not in types and bool(types & {"number", "integer"})


def _number(part: Mapping[str, Any], types: set[str]) -> dict[str, Any]:
    low, high = part.get("minimum", -_MAX_NUMBER), part.get("maximum", _MAX_NUMBER)
    if "number" not in types:
        low, high = math.ceil(low), math.floor(high)
    return _or_null({"type": "number" if "number" in types else "integer", "minimum": low, "maximum": max(low, high)})


def _enumerated_values(given: Any, schema: Mapping[str, Any]) -> list[Any] | None:
    """Return the values of an enumeration, also of a choice among constants; None for other parts."""
    part = resolve(given, schema, choose=False)
    if "const" in part:
        return [part["const"]]
    if isinstance(part.get("enum"), list):
        return list(part["enum"])
    collected: list[Any] = []
    for choice in part.get("anyOf") or part.get("oneOf") or ():
        if isinstance(choice, Mapping) and choice.get("type") == "null":
            continue
        values = _enumerated_values(choice, schema)
        if values is None:
            return None
        collected += values
    return collected or None


def _enumeration(values: list[Any]) -> dict[str, Any]:
    """Return the schema of these values or null, each once: 1, 1.0 and true differ in JSON."""
    distinct = {json.dumps(value, sort_keys=True): value for value in [*values, None]}
    return {"enum": list(distinct.values())}
