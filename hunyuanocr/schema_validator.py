"""JSON Schema validation (draft 2020-12) with jsonschema; patterns of clients are matched by RE2 (`client_regex`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry

from hunyuanocr.client_regex import UnsupportedPattern, compile_regex
from hunyuanocr.errors import InvalidSchema

_NO_REGISTRY: Registry[Any] = Registry()  # the default registry would download unknown references
_FORMAT_NAMES = ("date", "email", "idn-email", "ipv4", "ipv6", "uuid")
_MAX_TYPES = 16  # JSON Schema has seven


def validator(schema: Mapping[str, Any], *, formats: bool = True) -> Validator:
    """Return a validator; with `formats` it also checks `format`.

    `$schema` is removed, because jsonschema would use it to select a validator class with Python patterns.
    """
    plain = {key: value for key, value in schema.items() if key != "$schema"}
    result: Validator = _Validator(plain, registry=_NO_REGISTRY, format_checker=_FORMATS if formats else None)
    return result


def check_form(schema: Any) -> None:
    """Raise InvalidSchema if `schema` is not a JSON Schema or has a pattern that RE2 does not support."""
    try:
        _check_lists(schema)
        error = best_match(_META.iter_errors(dict(schema) if isinstance(schema, Mapping) else schema))
    except RecursionError:
        raise InvalidSchema("The schema is nested too deeply.") from None
    if error is not None:
        reason = str(error.cause) if isinstance(error.cause, UnsupportedPattern) else error.message[:200]
        raise InvalidSchema(f"The schema is not a JSON Schema: {reason}") from error


def _check_lists(part: Any) -> None:
    """Check lists that jsonschema compares pairwise, which takes seconds, if they cannot be sorted."""
    if isinstance(part, list):
        for value in part:
            _check_lists(value)
    for key, value in part.items() if isinstance(part, Mapping) else ():
        if key == "type" and isinstance(value, list) and len(value) > _MAX_TYPES:
            raise InvalidSchema(f"A part of the schema has more than {_MAX_TYPES} types.")
        lists = (
            [value] if key == "required" else value.values() if key == "dependentRequired" and isinstance(value, Mapping) else ()
        )
        if any(not isinstance(name, str) for names in lists if isinstance(names, list) for name in names):
            raise InvalidSchema(f"'{key}' in the schema contains a value that is not a string.")
        _check_lists(value)


def _pattern(validator: Validator, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not compile_regex(pattern).search(instance):
        yield ValidationError(f"{instance[:200]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[ValidationError]:
    for pattern, part in patterns.items() if validator.is_type(instance, "object") else ():
        for key, value in instance.items():
            if compile_regex(pattern).search(key):
                yield from validator.descend(value, part, path=key, schema_path=pattern)


def _additional_properties(validator: Any, rest: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [k for k in instance if k not in named and not any(compile_regex(p).search(k) for p in patterns)]
    if validator.is_type(rest, "object"):
        for extra in extras:
            yield from validator.descend(instance[extra], rest, path=extra)
    elif not rest and extras:
        yield ValidationError(f"Additional properties are not allowed: {', '.join(map(repr, extras))[:200]}")


def _is_regex(instance: Any) -> bool:
    """Check the format `regex`, also for the patterns in a schema."""
    return not isinstance(instance, str) or compile_regex(instance) is not None


def _formats() -> FormatChecker:
    """Return a checker of the formats that jsonschema knows by itself: others would depend on which packages are installed."""
    formats = FormatChecker(())
    known = {name: Draft202012Validator.FORMAT_CHECKER.checkers[name] for name in _FORMAT_NAMES}
    formats.checkers = {**known, "regex": (_is_regex, UnsupportedPattern)}
    return formats


_FORMATS = _formats()
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional_properties},
)
_META = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=_FORMATS)
