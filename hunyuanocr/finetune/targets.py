"""Questions about a page with their answers, in the words and forms of the official prompts, as serving asks them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hunyuanocr import prompts
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.output.spotting import SCALE

Turn = tuple[str, str]  # what is asked, and the answer
Box = tuple[float, float, float, float]  # left, top, right, bottom


def text_target(rows: Iterable[Iterable[str]]) -> Turn:
    """All text: a row a line, the runs of one beside one another."""
    return prompts.TEXT, "\n".join(" ".join(row) for row in rows)


def spotting_target(runs: Iterable[tuple[str, Box]], width: float, height: float) -> Turn:
    """Runs of text with their places, of a page that is so large: `text(x1,y1),(x2,y2)` a run, in thousandths of the page."""
    written = []
    for words, (left, top, right, bottom) in runs:
        x1, x2 = (round(min(max(x / width, 0), 1) * SCALE) for x in (left, right))
        y1, y2 = (round(min(max(y / height, 0), 1) * SCALE) for y in (top, bottom))
        written.append(f"{words}({x1},{y1}),({x2},{y2})")
    return prompts.SPOTTING, "".join(written)


def extraction_target(fields: Mapping[str, Any]) -> Turn:
    """Fields by the keys that they are asked for: values as printed, None for what is not, rows as a list of objects."""
    return extraction_prompt(tuple(fields)), json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=1 << 15)
def extraction_prompt(keys: tuple[str, ...]) -> str:
    """The prompt for these keys. Raises InvalidValue for more of them than fit an answer."""
    return prompts.build_prompt(parse_instruction(fields=list(keys))).prompt


def row_columns(key: str) -> tuple[str, ...]:
    """What an answer must say of each row of line items asked for by `key`."""
    schema = prompts.build_prompt(parse_instruction(fields=[key])).schema or {}
    return tuple(schema["properties"][key]["items"]["properties"])
