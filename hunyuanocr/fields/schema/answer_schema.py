"""The JSON Schema that a language model's answer is held to: the client's keys, each value as printed or null, all of it bounded.

A value is asked for as printed, whatever type the client's own schema gives it: `fields.schema.fit` makes the type of it, as
it does for readers without a language model, and what is printed can be looked up on the page. Where print cannot say it (one
of several words, true or false, an object of its own) the client's own part of the schema is asked for, made finite.
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

_MAX_DEPTH = 8  # levels of a client's schema; one that refers to itself has no end
_MAX_PARTS = 500  # parts of it, with references written out
_MAX_BYTES = 10**12  # of a number that the client's schema does not bound
_INNER = 16  # elements of an array within an array


@dataclass(frozen=True)
class LengthLimits:
    """The longest words (names, addresses, free text), codes (numbers of things and phones) and values (amounts, dates …) in
    characters; the most rows.
    """

    words: int
    code: int
    value: int
    rows: int

    def max_length(self, type: FieldType) -> int:
        """Characters of a value of this type."""
        if type in FREE_TEXT_TYPES:
            return self.words
        return self.code if type in (FieldType.IDENTIFIER, FieldType.PHONE) else self.value


def build_answer_schema(
    specs: Sequence[FieldSpec],
    columns: Sequence[tuple[str, FieldType]],
    limits: LengthLimits,
    schema: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The schema of an object with the wanted keys in their order; `columns` are those of rows that no client's schema names.

    Raises InvalidSchema where the client's schema has no bounds, or more parts than a grammar should.
    """
    builder = _Builder(limits, schema or {})
    parts = resolve(schema, schema).get("properties", {}) if schema else {}
    return _object({spec.key: builder.field(spec, columns, parts.get(spec.key) if schema else None) for spec in specs})


def printed_value(type: FieldType, limits: LengthLimits) -> dict[str, Any]:
    """A value as printed, or null."""
    return {"type": ["string", "null"], "maxLength": limits.max_length(type)}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(properties), "additionalProperties": False}


def _rows(item: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"type": ["array", "null"], "items": dict(item), "maxItems": most}


def _or_null(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(part), {"type": "null"}]}


@dataclass
class _Builder:
    """Writes out one client's schema. `left` is how many more parts it may have."""

    limits: LengthLimits
    schema: Mapping[str, Any]
    left: int = field(default=_MAX_PARTS)

    def field(self, spec: FieldSpec, columns: Sequence[tuple[str, FieldType]], part: Any) -> dict[str, Any]:
        if part is not None:
            return self.part(part, spec.type)
        if spec.type is FieldType.ROWS:
            return _rows(_object({name: printed_value(type, self.limits) for name, type in columns}), self.limits.rows)
        return printed_value(spec.type, self.limits)

    def part(self, given: Any, type: FieldType = FieldType.TEXT, depth: int = 0, *, own: bool = False) -> dict[str, Any]:
        """What is asked for a part of the client's schema; `own`: inside an object of its own form."""
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise InvalidSchema(
                "The schema refers to itself, or has too many parts.", hint="Send a flat schema of the fields that you need."
            )
        if (words := _words(given, self.schema)) is not None:
            return _enumeration(words)
        part = resolve(given, self.schema)
        types = types_of(part)
        if "boolean" in types:
            return {"type": ["boolean", "null"]}
        if "array" in types:
            return self._array(part, depth, own=own)
        if is_money_or_quantity(part) and not own:
            return printed_value(FieldType.MONEY, self.limits)
        if "object" in types or "properties" in part:
            return _or_null(self._own_object(part, depth))
        return _number(part, types) if own and _numeric(types) else self._text(part, type)

    def _text(self, part: Mapping[str, Any], type: FieldType) -> dict[str, Any]:
        asked = printed_value(FieldType.QUANTITY if _numeric(types_of(part)) else type, self.limits)
        return {**asked, "maxLength": int(min(part.get("maxLength", asked["maxLength"]), asked["maxLength"]))}

    def _array(self, part: Mapping[str, Any], depth: int, *, own: bool) -> dict[str, Any]:
        """Elements and columns of the field itself are asked for as printed, those further in as the client's schema has them."""
        most = int(min(part.get("maxItems", self.limits.rows), _INNER if depth else self.limits.rows))
        items = part.get("items", {})
        element = resolve(items, self.schema)
        if isinstance(element.get("properties"), Mapping) and not is_money_or_quantity(element) and not depth:
            columns = {key: self.part(column, depth=1) for key, column in element["properties"].items()}
            return _rows(_object(columns), most)
        return _rows(self.part(items, depth=depth + 1, own=own or depth > 0), most)

    def _own_object(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = part.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise InvalidSchema("The schema has an object without 'properties'.", hint="Name the properties of every object.")
        return _object({key: self.part(inner, depth=depth + 1, own=True) for key, inner in properties.items()})


def _numeric(types: set[str]) -> bool:
    return "string" not in types and bool(types & {"number", "integer"})


def _number(part: Mapping[str, Any], types: set[str]) -> dict[str, Any]:
    low, high = part.get("minimum", -_MAX_BYTES), part.get("maximum", _MAX_BYTES)
    if "number" not in types:
        low, high = math.ceil(low), math.floor(high)
    return _or_null({"type": "number" if "number" in types else "integer", "minimum": low, "maximum": max(low, high)})


def _words(given: Any, schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that the part enumerates, also as a choice among constants; None where it does not."""
    part = resolve(given, schema, choose=False)
    if "const" in part:
        return [part["const"]]
    if isinstance(part.get("enum"), list):
        return list(part["enum"])
    found: list[Any] = []
    for choice in part.get("anyOf") or part.get("oneOf") or ():
        if isinstance(choice, Mapping) and choice.get("type") == "null":
            continue
        words = _words(choice, schema)
        if words is None:
            return None
        found += words
    return found or None


def _enumeration(words: list[Any]) -> dict[str, Any]:
    """These values or null, each once: 1, 1.0 and true are different in JSON."""
    kept = {json.dumps(word, sort_keys=True): word for word in [*words, None]}
    return {"enum": list(kept.values())}
