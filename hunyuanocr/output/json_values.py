"""Values of generated JSON, and their positions in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hunyuanocr.output.markdown import strip_code_fence

Path = tuple[str | int, ...]  # keys and indices from the root to a value
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)


@dataclass(frozen=True)
class Leaf:
    """A string, number, boolean or null: characters `start` … `end` of the text; of a string without its quotes."""

    path: Path
    start: int
    end: int
    null: bool = False


class InvalidJson(ValueError):
    """The text is not a JSON object; usually it is truncated."""


def parse_object(text: str) -> dict[str, Any]:
    """Parse an object, with or without a code fence. Raises InvalidJson.

    Control characters in strings are accepted: the grammars of some engines allow tabs.
    """
    try:
        value = json.loads(strip_code_fence(text), strict=False)
    except (ValueError, RecursionError) as e:
        raise InvalidJson(str(e)) from e
    if not isinstance(value, dict):
        raise InvalidJson(f"{type(value).__name__} instead of an object")
    return value


@dataclass
class _Container:
    """An open object or array: its path, and the key or index of its next value."""

    path: Path
    position: str | int | None  # None: an object before its next key
    array: bool = field(default=False)


def iter_leaves(text: str) -> Iterator[Leaf]:
    """Yield every scalar value in order; for text that `parse_object` accepts."""
    containers: list[_Container] = []
    start = text.find("{")
    for token in _TOKEN.finditer(text, max(start, 0)):
        symbol, container = token[0], containers[-1] if containers else None
        if symbol in "{[":
            path = (*container.path, container.position) if container and container.position is not None else ()
            containers.append(_Container(path, 0 if symbol == "[" else None, symbol == "["))
        elif symbol in "}]":
            if len(containers) < 2:
                return
            containers.pop()
        elif container is None or symbol == ":":
            continue
        elif symbol == ",":
            container.position = container.position + 1 if container.array and isinstance(container.position, int) else None
        elif container.position is None:
            container.position = json.loads(symbol, strict=False) if symbol.startswith('"') else symbol
        else:
            quote = int(symbol.startswith('"'))
            yield Leaf((*container.path, container.position), token.start() + quote, token.end() - quote, symbol == "null")
