"""Prompts about a page with their answers, in the wording and format of the official prompts, as in serving."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from hunyuanocr import prompts
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.output.spotting import SCALE

Turn = tuple[str, str]  # prompt, answer
Box = tuple[float, float, float, float]  # left, top, right, bottom


def text_target(rows: Iterable[Iterable[str]]) -> Turn:
    """Return the turn for all text: one row per line, texts of a row separated by spaces."""
    return prompts.TEXT, "\n".join(" ".join(row) for row in rows)


def spotting_target(runs: Iterable[tuple[str, Box]], width: float, height: float) -> Turn:
    """Return the turn for spotting: `text(x1,y1),(x2,y2)` for each text, in thousandths of the page of this size."""
    parts = []
    for text, (left, top, right, bottom) in runs:
        x1, x2 = (round(min(max(x / width, 0), 1) * SCALE) for x in (left, right))
        y1, y2 = (round(min(max(y / height, 0), 1) * SCALE) for y in (top, bottom))
        parts.append(f"{text}({x1},{y1}),({x2},{y2})")
    return prompts.SPOTTING, "".join(parts)


def extraction_target(fields: Mapping[str, Any]) -> Turn:
    """Return the turn for fields by key: values as printed, None if not printed, rows as a list of objects."""
    return extraction_prompt(tuple(fields)), json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=1 << 15)
def extraction_prompt(keys: tuple[str, ...]) -> str:
    """Return the prompt for these keys. Raises InvalidValue if too many are requested."""
    return prompts.build_prompt(parse_instruction(fields=list(keys))).prompt


def row_columns(key: str) -> tuple[str, ...]:
    """Return the columns that an answer has for each row of the line items `key`."""
    schema = prompts.build_prompt(parse_instruction(fields=[key])).schema or {}
    return tuple(schema["properties"][key]["items"]["properties"])
