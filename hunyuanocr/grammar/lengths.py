"""The longest string of an answer. The engines enforce it: a grammar that counts so many characters compiles too slowly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEFAULT_MAX_LENGTH = 256  # characters: a model that repeats itself must not use up the tokens of the other fields


def longest_string(schema: Any) -> int:
    """Return the largest `maxLength` of the schema in characters; 256 if it has none."""
    return _largest(schema) or _DEFAULT_MAX_LENGTH


def _largest(schema: Any) -> int:
    if isinstance(schema, Mapping):
        own = schema.get("maxLength")
        return max([own if isinstance(own, int) else 0, *map(_largest, schema.values())])
    return max(map(_largest, schema), default=0) if isinstance(schema, list) else 0
