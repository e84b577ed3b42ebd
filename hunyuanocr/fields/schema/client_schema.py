"""A client's JSON Schema: the fields it requests, and their values as an object that validates against it.

Supported is an object whose properties are fields: a string, number, integer or boolean, an object for money (amount, currency),
or an array of objects for line items; with `$ref` into the schema itself, `anyOf`/`oneOf` with null, and lists of types.
Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema.exceptions import ValidationError

from hunyuanocr.errors import InvalidSchema, SchemaNotSatisfied
from hunyuanocr.fields.catalogue import lookup
from hunyuanocr.fields.line_items.header import column_for
from hunyuanocr.fields.schema.refs import resolve, validate_schema
from hunyuanocr.fields.values.normalize import normalize
from hunyuanocr.schema_validator import validator
from hunyuanocr.types import Field, FieldSpec, FieldType

_BY_FORMAT = {"date": FieldType.DATE, "time": FieldType.TIME, "date-time": FieldType.DATETIME}
_PRINTED_OBJECTS = {"amount": {"amount", "currency"}, "number": {"number", "unit"}}
_WORDS = (FieldType.TEXT, FieldType.NAME)
_NORMAL = ({"amount", "currency"}, {"number", "unit"}, {"candidates"})  # keys of normalised values that are objects


def field_specs(schema: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
    """Return the fields of the schema's properties. Raises InvalidSchema if it is not a JSON Schema of an object."""
    validate_schema(schema)
    top = resolve(schema, schema)
    properties = top.get("properties")
    if top.get("type", "object") != "object" or not isinstance(properties, Mapping) or not properties:
        raise InvalidSchema("The schema must describe an object with properties.")
    return tuple(_spec(key, resolve(part, schema)) for key, part in properties.items())


def coerce(schema: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """Return values that validate against the schema. Raises SchemaNotSatisfied, which names the field that does not."""
    validate_schema(schema)
    top = resolve(schema, schema)
    by_key = {field.key: field for field in fields}
    answer: dict[str, Any] = {}
    for key, part in top.get("properties", {}).items():
        value = _coerced(by_key.get(key), part, schema)
        if value is not None or _valid(None, part, schema) or key in top.get("required", ()):
            answer[key] = value
    error = next(iter(validator(schema, formats=False).iter_errors(answer)), None)
    if error is not None:
        raise SchemaNotSatisfied(_reason(error, by_key))
    return answer


def types_of(part: Mapping[str, Any]) -> set[str]:
    """Return the JSON types of the part's `type`; may be empty."""
    kind = part.get("type")
    return {kind} if isinstance(kind, str) else set(kind or ())


def is_money_or_quantity(part: Mapping[str, Any]) -> bool:
    """Return whether the part is an object of one printed value: money (amount, currency) or a quantity (number, unit)."""
    properties = part.get("properties")
    names = set(properties) if isinstance(properties, Mapping) else set()
    return any(names <= form and first in names for first, form in _PRINTED_OBJECTS.items())


def _spec(key: str, part: Mapping[str, Any]) -> FieldSpec:
    known = lookup(key) or lookup(str(part.get("title", "")))
    if "array" in types_of(part):
        return FieldSpec(key, "items", FieldType.ROWS)
    if known is not None and known.type is not FieldType.ROWS:
        return FieldSpec(key, known.name, known.type)
    if is_money_or_quantity(part):
        return FieldSpec(key, None, _printed_form(part) or FieldType.MONEY)
    if (form := part.get("format")) in _BY_FORMAT:
        return FieldSpec(key, None, _BY_FORMAT[str(form)])
    return FieldSpec(key, None, FieldType.QUANTITY if types_of(part) & {"number", "integer"} else FieldType.TEXT)


def _coerced(field: Field | None, part: Any, schema: Mapping[str, Any]) -> Any:
    """Return the first form of the field's value that validates; None if the field is missing or no form validates."""
    if field is None:
        return None
    if field.type is FieldType.ROWS:
        return _coerced_rows(field, part, schema)
    return next((form for form in _forms(field, resolve(part, schema)) if _valid(form, part, schema)), None)


def _forms(field: Field, part: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the forms of the value that the schema may allow, the most normalised first."""
    normal, types = field.normalized, types_of(part)
    if field.value is None:
        return
    if _is_raw(normal):
        yield normal
        yield _without_nulls(normal)
        return
    if field.type in _WORDS and (form := _printed_form(part)) is not None:  # a column whose name does not determine its type
        normal = normalize(field.value, form) or normalize(field.value, FieldType.MONEY) or normal
    text = _plain(normal)
    if part.get("format") == "date-time" and "T" not in (text or ""):
        return  # a date without a time
    if types & {"number", "integer"} and text is not None:
        yield from _numbers(text, types)
    if "enum" in part or "const" in part:
        options = part.get("enum", [part.get("const")])
        printed = (field.value.casefold(), str(text).casefold())
        yield from (option for option in options if isinstance(option, str) and option.casefold() in printed)
    if isinstance(normal, Mapping) and "candidates" not in normal:
        typed = {**normal, "amount" if "amount" in normal else "number": float(str(text))}
        properties = part.get("properties", {})
        yield from (dict(normal), typed, *({k: v for k, v in form.items() if k in properties} for form in (normal, typed)))
    elif isinstance(normal, Mapping):
        yield from _certain_order(normal["candidates"])
    if text is not None:
        yield text
    yield field.value


def _certain_order(readings: Sequence[str]) -> Sequence[str]:
    """Return the likeliest date if it is the only reading with its year (25-12-18); none if day and month may be exchanged."""
    return readings[:1] if sum(r[:4] == readings[0][:4] for r in readings) == 1 else ()


def _printed_form(part: Mapping[str, Any]) -> FieldType | None:
    """Return the type of a printed value that is converted to the part's number or object, or None."""
    if is_money_or_quantity(part):
        return FieldType.MONEY if "amount" in part["properties"] else FieldType.QUANTITY
    return FieldType.QUANTITY if types_of(part) & {"number", "integer"} and "string" not in types_of(part) else None


def _is_raw(normal: Any) -> bool:
    """Return whether a language model generated the value in the form of the client's schema, so that it is not converted."""
    if isinstance(normal, Mapping):
        return set(normal) not in _NORMAL
    return normal is not None and not isinstance(normal, str)


def _without_nulls(value: Any) -> Any:
    """Return the value without nulls, for a schema whose keys may be missing but not null."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value if part is not None] if isinstance(value, list) else value


def _plain(normal: Any) -> str | None:
    """Return the string or number of a normalised value; None if it is ambiguous."""
    if isinstance(normal, Mapping):
        return normal.get("amount") or normal.get("number")
    return normal if isinstance(normal, str) else None


def _numbers(text: str, types: set[str]) -> Iterator[int | float]:
    try:
        number = float(text)
    except ValueError:
        return
    if number.is_integer() and "integer" in types:
        yield int(number)
    yield number


def _coerced_rows(field: Field, part: Any, schema: Mapping[str, Any]) -> list[Any] | None:
    items = resolve(resolve(part, schema).get("items", {}), schema)
    properties = items.get("properties")
    if field.rows is None:
        return [] if _valid([], part, schema) else None
    if not isinstance(properties, Mapping) or is_money_or_quantity(items):  # an array of strings: the names
        return [_coerced_element(row["name"], items, schema) for row in field.rows if "name" in row]
    rows = []
    for row in field.rows:
        answer: dict[str, Any] = {}
        for key, column in properties.items():
            value = _coerced(row.get(key) or row.get(column_for(key) or key), column, schema)
            if value is not None or _valid(None, column, schema):
                answer[key] = value
        rows.append(answer)
    return rows


def _coerced_element(field: Field, items: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return an element of an array as printed, or in another form if only that validates."""
    if _valid(field.value, items, schema):
        return field.value
    return form if (form := _coerced(field, items, schema)) is not None else field.value


def _valid(value: Any, part: Any, schema: Mapping[str, Any]) -> bool:
    """Return whether the value validates against this part; its references refer to the whole schema."""
    if not isinstance(part, Mapping):
        return part is not False
    return validator(schema).evolve(schema=part).is_valid(value)


def _reason(error: ValidationError, by_key: Mapping[str, Field]) -> str:
    key = str(error.absolute_path[0]) if error.absolute_path else None
    if key is None:
        return f"The result does not match the schema: {error.message[:200]}"
    field = by_key.get(key)
    if field is None or (field.value is None and not field.rows):
        return f"The field '{key[:60]}' was not found on the page, and the schema does not allow null."
    return f"The value of the field '{key[:60]}' does not match the schema."
