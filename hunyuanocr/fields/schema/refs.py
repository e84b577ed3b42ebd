"""Validation of a client's JSON Schema, and its references, with limits on the cost of following them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from hunyuanocr.client_regex import UnsupportedPattern, compile_regex
from hunyuanocr.errors import InvalidSchema
from hunyuanocr.schema_validator import check_form

_MAX_REFERENCES = 16
_MAX_PARTS = 2_000  # subschemas with references expanded: the cost of validating a value
_MAX_DEPTH = 100
_MAX_PATTERNS = 200  # distinct
_MAX_INSTRUCTIONS = 200_000  # of distinct patterns: the cost of compiling them
_MAX_STEPS = 500_000  # instructions of all patterns, counted for each reference
_MAX_RECURSION = 8  # rounds of a recursive reference
_DEFINITIONS = ("$defs", "definitions")
_NESTING = frozenset(
    (  # keywords whose schemas apply to parts of a value
        "properties",
        "patternProperties",
        "additionalProperties",
        "unevaluatedProperties",
        "propertyNames",
        "items",
        "prefixItems",
        "contains",
        "unevaluatedItems",
    )
)
_PATTERN_HINT = (
    "Patterns use RE2 syntax (https://github.com/google/re2/wiki/Syntax) without look-around and back-references. Use maxLength."
)
_TOO_MANY_PATTERNS = "The schema's patterns are too many or too long."
_DEFINED = re.compile(r"#/(\$defs|definitions)/[^/]+")


def validate_schema(schema: Any) -> None:
    """Validate a client's schema. Raises InvalidSchema if it is invalid, has a broken reference, or is too expensive."""
    if not isinstance(schema, Mapping):
        raise InvalidSchema("The schema is not a JSON object.")
    sizes = _check_patterns(schema)
    check_form(schema)
    references = set()
    for key, value in _links({key: value for key, value in schema.items() if key not in ("$id", "$schema")}):
        if key == "$schema":
            raise InvalidSchema(f"A subschema declares another dialect ($schema: {value[:80]}).")
        if key == "$id":
            raise InvalidSchema(f"A subschema declares its own $id ({value[:80]}), which is not supported.")
        if value != "#" and not value.startswith("#/"):
            raise InvalidSchema(f"The schema has an external reference, which is not supported: {value[:80]}.")
        references.add(value)
    elsewhere = [reference for reference in references if not _DEFINED.fullmatch(reference)]
    if len(elsewhere) > _MAX_REFERENCES:
        raise InvalidSchema(f"The schema has more than {_MAX_REFERENCES} references outside of its $defs.")
    for reference in elsewhere:  # their targets may be under unknown keywords, which `check_form` skips
        check_form(_target(reference, schema))
    _ExpansionGuard(schema, sizes).walk(schema)


class _ExpansionGuard:
    """Limits the size of a schema with references expanded: a few lines may expand to billions of subschemas.

    A recursive reference that descends into the value ends with the value, and is expanded a few rounds; any other is an error.
    """

    def __init__(self, schema: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        """`sizes` are the instructions of each pattern."""
        self._schema = schema
        self._sizes = sizes
        self._parts = 0
        self._steps = 0

    def walk(self, part: Any, here: frozenset[str] = frozenset(), above: tuple[str, ...] = (), depth: int = 0) -> None:
        """Count a subschema. `here` are the references since the last descent into the value, `above` all of them."""
        self._parts += isinstance(part, Mapping)
        if self._parts > _MAX_PARTS or depth > _MAX_DEPTH:
            raise InvalidSchema("The schema is too large with its references expanded.")
        self._steps += sum(self._sizes[pattern] for pattern in _patterns_of(part))
        if self._steps > _MAX_STEPS:
            raise InvalidSchema(_TOO_MANY_PATTERNS, hint=_PATTERN_HINT)
        if isinstance(part, list):
            for value in part:
                self.walk(value, here, above, depth + 1)
        for key, value in part.items() if isinstance(part, Mapping) else ():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                if value in here:
                    raise InvalidSchema("The schema has a circular reference.")
                if above.count(value) < _MAX_RECURSION:
                    self.walk(_target(value, self._schema), here | {value}, (*above, value), depth + 1)
            elif not (key in _DEFINITIONS and isinstance(value, Mapping)):  # definitions are counted where they are referenced
                self.walk(value, frozenset() if key in _NESTING else here, above, depth + 1)


def _check_patterns(schema: Any) -> dict[str, int]:
    """Return the instructions of each pattern of the schema. Raises InvalidSchema for an invalid pattern, and too many."""
    waiting, unevaluated, grouped = [schema], False, False
    sizes: dict[str, int] = {}
    while waiting:
        part = waiting.pop()
        for pattern in _patterns_of(part):
            try:
                sizes[pattern] = compile_regex(pattern).size
            except UnsupportedPattern as e:
                raise InvalidSchema(str(e), hint=_PATTERN_HINT) from e
            if sum(sizes.values()) > _MAX_INSTRUCTIONS or len(sizes) > _MAX_PATTERNS:
                raise InvalidSchema(_TOO_MANY_PATTERNS, hint=_PATTERN_HINT)
        if isinstance(part, Mapping):
            unevaluated, grouped = unevaluated or "unevaluatedProperties" in part, grouped or "patternProperties" in part
        waiting += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    if unevaluated and grouped:  # jsonschema evaluates these patterns with Python's engine
        raise InvalidSchema("The schema has both 'patternProperties' and 'unevaluatedProperties'.", hint="Remove one of them.")
    return sizes


def _patterns_of(part: Any) -> list[str]:
    """Return the patterns of this part itself."""
    if not isinstance(part, Mapping):
        return []
    groups = part.get("patternProperties")
    return [p for p in (part.get("pattern"), *(groups if isinstance(groups, Mapping) else ())) if isinstance(p, str)]


def _links(part: Any) -> Iterator[tuple[str, str]]:
    """Yield the references, identifiers and dialects of all subschemas, with their keyword."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in ("$ref", "$dynamicRef", "$id", "$schema") and isinstance(value, str):
                yield key, value
            else:
                yield from _links(value)
    elif isinstance(part, list):
        for value in part:
            yield from _links(value)


def resolve(part: Any, schema: Mapping[str, Any], *, choose: bool = True) -> Mapping[str, Any]:
    """Return the part with its references resolved and, with `choose`, the first non-null option of its choice."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part, Mapping):
            return {}
        if isinstance(reference := part.get("$ref"), str):
            target = _target(reference, schema)
            part = {**target, **{k: v for k, v in part.items() if k != "$ref"}}
            continue
        choices = [c for c in (part.get("anyOf") or part.get("oneOf") or part.get("allOf") or ()) if c != {"type": "null"}]
        if choose and choices and "type" not in part and "properties" not in part:
            rest = {k: v for k, v in part.items() if k not in ("anyOf", "oneOf", "allOf")}
            part = {**choices[0], **rest} if isinstance(choices[0], Mapping) else {}
            continue
        return part
    raise InvalidSchema("The schema has a circular reference.")


def _target(reference: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of a reference (RFC 6901, 6). Raises InvalidSchema."""
    target: Any = schema
    for step in unquote(reference[2:]).split("/") if reference != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping) and name in target:
            target = target[name]
        elif isinstance(target, list) and name in map(str, range(len(target))):
            target = target[int(name)]
        else:
            raise InvalidSchema(f"The schema has a broken reference: {reference[:80]}.")
    return target if isinstance(target, Mapping) else {}
