"""A Reading and what was asked → the Result: lines tagged, fields typed and grounded, the schema satisfied."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hunyuanocr.fields import extract_fields, ground_values
from hunyuanocr.fields.schema.client_schema import coerce
from hunyuanocr.pipeline.rotation import to_original, to_upright
from hunyuanocr.types import Field, FieldType, Line, Page, Reading, Result, Task

_TAGS: tuple[tuple[FieldType, re.Pattern[str]], ...] = (  # the first that is found names the line
    (
        FieldType.DATE,
        re.compile(
            r"\b\d{4}\s?[-/.年]\s?\d{1,2}\s?[-/.月]\s?\d{1,2}"
            r"|\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})\b"
            r"|\b\d{1,2}[ -][A-Za-z]{3,9}[ -,]+\d{2,4}\b"
        ),
    ),
    (FieldType.TIME, re.compile(r"\b(?:[01]?\d|2[0-3])[:：][0-5]\d(?:[:：][0-5]\d)?\b")),
    (FieldType.PERCENT, re.compile(r"\d\s?[%％]")),
    (
        FieldType.PHONE,
        re.compile(
            r"(?i)(?:电话|手机|热线|\btel\b|\bphone\b|\bmobile\b|\bfax\b).{0,80}\d[\d -]{5}"
            r"|\b1[3-9]\d{9}\b"
            r"|\+\d[\d -]{7,}"
        ),
    ),
    (
        FieldType.MONEY,
        re.compile(
            r"(?:[¥￥$€£]|\b(?:RM|RMB|CNY|USD|EUR|GBP|HKD|SGD|MYR))\s?-?\d"
            r"|\d元"
            r"|\b\d{1,3}(?:,\d{3}){0,9}\.\d{2}\b"
            r"|\b\d+\.\d{2}\b"
        ),
    ),
)


def classify_line(text: str) -> FieldType:
    """What kind of value stands on a line, told by its looks alone: a hint for clients that colour or filter lines."""
    return next((kind for kind, pattern in _TAGS if pattern.search(text)), FieldType.TEXT)


def classify_lines(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines with their type, where the reader did not tell one."""
    return tuple(replace(n, type=classify_line(n.text)) if n.type is FieldType.TEXT else n for n in lines)


def resolve_fields(task: Task, reading: Reading, lines: Sequence[Line], sizes: Sequence[tuple[int, int]]) -> tuple[Field, ...]:
    """One Field for each one asked for: found on the lines, or as a language model wrote it and then looked for on the lines."""
    if not task.fields:
        return ()
    lines, seen, turns = to_upright(lines, sizes)
    if reading.values is None:
        fields = extract_fields(lines, task.fields, seen)
    else:
        fields = ground_values(reading.values, task.fields, lines, reading.confidences)
    return to_original(fields, seen, turns)


def build_result(
    task: Task, pages: Sequence[Page], reading: Reading, evidence: Reading | None = None, *, id: str, backend: str, model: str
) -> Result:
    """The whole answer but for its time. Raises SchemaNotSatisfied when a schema was given and the page does not fit it.

    A language model that writes fields gives no lines. Then lines and text are the witness's, with the witness's confidences:
    what proves the values is shown beside them.
    """
    sizes = tuple((p.width, p.height) for p in pages)
    other = evidence if evidence is not None and not reading.lines else reading
    fields = resolve_fields(task, reading, other.lines, sizes)
    return Result(
        id=id,
        task=task.kind,
        text=reading.text or other.text,
        lines=classify_lines(other.lines),
        fields=fields,
        markdown=reading.markdown,
        page_sizes=sizes,
        backend=backend,
        model=model,
        elapsed_ms=0.0,
        answer=None if task.schema is None else coerce(task.schema, fields),
        notices=(*(n for p in pages for n in p.notices), *reading.notices),
        truncated=reading.finish_reason != "stop",
        usage=reading.usage,
    )
