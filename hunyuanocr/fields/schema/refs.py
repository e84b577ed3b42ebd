"""Whether a client's JSON Schema is one, where its references lead, and what following them may cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from hunyuanocr.client_regex import UnsupportedPattern, compile_regex
from hunyuanocr.errors import InvalidSchema
from hunyuanocr.schema_validator import check_form

_MAX_REFERENCES = 16
_MAX_PARTS = 2_000  # of a schema with each reference in the place of what it leads to: what checking a value may cost
_MAX_DEPTH = 100
_MAX_PATTERNS = 200  # different ones
_MAX_INSTRUCTIONS = 200_000  # of different patterns: what compiling them may cost
_MAX_STEPS = 500_000  # instructions of all patterns, each as often as it is referred to
_ROUNDS = 8
_DEFINITIONS = ("$defs", "definitions")
_INTO = frozenset((  # keywords whose schemas are for what is inside a value
    "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "propertyNames", "items", "prefixItems",
    "contains", "unevaluatedItems",
))  # fmt: skip
_PATTERN_HINT = (
    "Patterns run in RE2 (https://github.com/google/re2/wiki/Syntax): no look-around, no back-references; count with maxLength."
)
_TOO_MANY = "The patterns of the schema are too many or too long, together."
_DEFINED = re.compile(r"#/(\$defs|definitions)/[^/]+")


def validate_schema(schema: Any) -> None:
    """Raises InvalidSchema for what is no JSON Schema, refers to what it does not have, or would take too long."""
    if not isinstance(schema, Mapping):
        raise InvalidSchema("The schema is not a JSON object.")
    sizes = _check_patterns(schema)
    check_form(schema)
    references = set()
    for key, value in _links({key: value for key, value in schema.items() if key not in ("$id", "$schema")}):
        if key == "$schema":
            raise InvalidSchema(f"A part of the schema names a dialect of its own ({value[:80]}).")
        if key == "$id":
            raise InvalidSchema(f"A part of the schema has an address of its own ({value[:80]}): references would start there.")
        if value != "#" and not value.startswith("#/"):
            raise InvalidSchema(f"The schema refers to {value[:80]}, outside itself; nothing is fetched.")
        references.add(value)
    elsewhere = [reference for reference in references if not _DEFINED.fullmatch(reference)]
    if len(elsewhere) > _MAX_REFERENCES:
        raise InvalidSchema(f"The schema refers to more than {_MAX_REFERENCES} places that are not in its $defs.")
    for reference in elsewhere:  # where no keyword leads, nobody has looked yet
        check_form(_target(reference, schema))
    _ExpansionGuard(schema, sizes).walk(schema)


class _ExpansionGuard:
    """Walks through a schema, into references as often as they are referred to: a few lines may unfold to billions. A circle that
    goes down into the answer with each round ends with it, and is walked some rounds; any other would never end.
    """

    def __init__(self, schema: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        """`sizes`: of its patterns."""
        self._schema = schema
        self._sizes = sizes
        self._parts = 0
        self._steps = 0

    def walk(self, part: Any, here: frozenset[str] = frozenset(), above: tuple[str, ...] = (), depth: int = 0) -> None:
        """`here` are the references since the last step down into the answer, `above` all of them. Raises InvalidSchema."""
        self._parts += isinstance(part, Mapping)
        if self._parts > _MAX_PARTS or depth > _MAX_DEPTH:
            raise InvalidSchema("The schema is too large, with its references in the place of what they lead to.")
        self._steps += sum(self._sizes[pattern] for pattern in _patterns_of(part))
        if self._steps > _MAX_STEPS:
            raise InvalidSchema(_TOO_MANY, hint=_PATTERN_HINT)
        if isinstance(part, list):
            for value in part:
                self.walk(value, here, above, depth + 1)
        for key, value in part.items() if isinstance(part, Mapping) else ():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                if value in here:
                    raise InvalidSchema("The schema's references run in a circle.")
                if above.count(value) < _ROUNDS:
                    self.walk(_target(value, self._schema), here | {value}, (*above, value), depth + 1)
            elif not (key in _DEFINITIONS and isinstance(value, Mapping)):  # they are walked through where they are referred to
                self.walk(value, frozenset() if key in _INTO else here, above, depth + 1)


def _check_patterns(schema: Any) -> dict[str, int]:
    """The instructions of each pattern, wherever it stands. Raises InvalidSchema for what cannot be used, and for too many."""
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
                raise InvalidSchema(_TOO_MANY, hint=_PATTERN_HINT)
        if isinstance(part, Mapping):
            unevaluated, grouped = unevaluated or "unevaluatedProperties" in part, grouped or "patternProperties" in part
        waiting += part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ()
    if unevaluated and grouped:  # jsonschema runs these patterns on Python's engine
        raise InvalidSchema("The schema has both 'patternProperties' and 'unevaluatedProperties'.", hint="Leave one of them out.")
    return sizes


def _patterns_of(part: Any) -> list[str]:
    """The patterns that stand right in this part."""
    if not isinstance(part, Mapping):
        return []
    groups = part.get("patternProperties")
    return [p for p in (part.get("pattern"), *(groups if isinstance(groups, Mapping) else ())) if isinstance(p, str)]


def _links(part: Any) -> Iterator[tuple[str, str]]:
    """References and addresses, wherever they stand."""
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
    """The part itself, behind its references and, with `choose`, its choice between something and null. Raises InvalidSchema."""
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
    raise InvalidSchema("The schema's references run in a circle.")


def _target(reference: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a reference leads (RFC 6901, 6). Raises InvalidSchema."""
    target: Any = schema
    for step in unquote(reference[2:]).split("/") if reference != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, Mapping) and name in target:
            target = target[name]
        elif isinstance(target, list) and name in map(str, range(len(target))):
            target = target[int(name)]
        else:
            raise InvalidSchema(f"The schema refers to {reference[:80]}, which it does not have.")
    return target if isinstance(target, Mapping) else {}
