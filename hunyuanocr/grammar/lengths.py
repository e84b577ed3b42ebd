"""How long an engine lets strings become: it counts what a grammar would take a second to compile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WITHOUT_LIMIT = 256  # characters: a model that repeats itself must not eat the other fields' room


def longest_string(schema: Any) -> int:
    """Most characters of any string of an answer to the schema: its largest `maxLength`, 256 where it has none."""
    return _largest(schema) or _WITHOUT_LIMIT


def _largest(schema: Any) -> int:
    if isinstance(schema, Mapping):
        own = schema.get("maxLength")
        return max([own if isinstance(own, int) else 0, *map(_largest, schema.values())])
    return max(map(_largest, schema), default=0) if isinstance(schema, list) else 0
