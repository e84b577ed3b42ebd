"""JSON as a model wrote it → its values, and where each one stands in what was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hunyuanocr.output.markdown import strip_code_fence

Path = tuple[str | int, ...]  # keys and positions from the whole down to a value
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)


@dataclass(frozen=True)
class Leaf:
    """A string, number, boolean or null in what was written: characters `start` … `end`, of a string without its quotes."""

    path: Path
    start: int
    end: int
    null: bool = False


class InvalidJson(ValueError):
    """What was written is no JSON object; most often it was cut off."""


def parse_object(written: str) -> dict[str, Any]:
    """The object that was written, with or without a code fence around it. Raises NotJson.

    Control characters within strings are taken as they are: the grammar of some engines lets tabs through.
    """
    try:
        value = json.loads(strip_code_fence(written), strict=False)
    except (ValueError, RecursionError) as e:
        raise InvalidJson(str(e)) from e
    if not isinstance(value, dict):
        raise InvalidJson(f"{type(value).__name__} instead of an object")
    return value


@dataclass
class _Container:
    """An object or array that is being read: where it hangs, and the key or position of its next value."""

    path: Path
    position: str | int | None  # None: an object that waits for a key
    array: bool = field(default=False)


def iter_leaves(written: str) -> Iterator[Leaf]:
    """Every value that is no object and no array, in the order in which they were written; for text that `parse_object` took."""
    inside: list[_Container] = []
    start = written.find("{")
    for token in _TOKEN.finditer(written, max(start, 0)):
        sign, here = token[0], inside[-1] if inside else None
        if sign in "{[":
            path = (*here.path, here.position) if here and here.position is not None else ()
            inside.append(_Container(path, 0 if sign == "[" else None, sign == "["))
        elif sign in "}]":
            if len(inside) < 2:
                return
            inside.pop()
        elif here is None or sign == ":":
            continue
        elif sign == ",":
            here.position = here.position + 1 if here.array and isinstance(here.position, int) else None
        elif here.position is None:
            here.position = json.loads(sign, strict=False) if sign.startswith('"') else sign
        else:
            quote = int(sign.startswith('"'))
            yield Leaf((*here.path, here.position), token.start() + quote, token.end() - quote, sign == "null")
