"""Make pydantic's validation errors readable: paths in what the client sent, and messages without names of our classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_SOURCES = frozenset({"body", "query", "path", "header", "cookie"})  # FastAPI puts one of them first
_CLASS_NAMES = re.compile(r"a valid dictionary(?: or (?:instance of \w+|object to extract fields from))?")


def readable_errors(errors: Sequence[Mapping[str, Any]], body: Any = None) -> list[dict[str, Any]]:
    """Return location, message and type of each error, without the rejected values.

    A value that may be of two types has an error for each of them, whose location names the type. Here a location has only the
    keys and indices of `body`; and of the errors of one value those remain that lie deepest.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for error in errors:
        location = _location(error, body)
        message = _CLASS_NAMES.sub("an object", str(error["msg"]).removeprefix("Value error, "))
        found.setdefault((*location, message), {"loc": location, "msg": message, "type": error["type"]})
    locations = [error["loc"] for error in found.values()]
    return [error for error in found.values() if not any(_is_inside(other, error["loc"]) for other in locations)]


def _is_inside(location: list[Any], outer: list[Any]) -> bool:
    return len(location) > len(outer) > 0 and location[: len(outer)] == outer


def _location(error: Mapping[str, Any], body: Any) -> list[Any]:
    parts = list(error["loc"])
    source = [parts.pop(0)] if parts and parts[0] in _SOURCES else []
    if source and source != ["body"]:
        return source + parts[:1]
    found: list[Any] = []
    value = body
    for number, part in enumerate(parts):
        in_object = isinstance(value, Mapping) and part in value
        if in_object or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif not (number == 0 or (error["type"] == "missing" and number == len(parts) - 1)):
            continue  # the name of a type
        found.append(part)
    return source + found
