"""Build the Result from a Reading and its task: classify lines, type and ground fields, satisfy the schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from hunyuanocr.fields.declared import Declared
from hunyuanocr.fields.schema.client_schema import coerce
from hunyuanocr.fields.unknown import unknown_field_warnings
from hunyuanocr.pipeline.documents import resolve_documents, several_documents_warnings
from hunyuanocr.types import Code, FieldType, Line, Page, Reading, Result, ResultWarning, Task

_TAGS: tuple[tuple[FieldType, re.Pattern[str]], ...] = (  # the first match decides
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
    """Return the kind of value on a line, judged by its format: a hint for clients that colour or filter lines."""
    return next((kind for kind, pattern in _TAGS if pattern.search(text)), FieldType.TEXT)


def classify_lines(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines with their type, which is inferred where the backend gave none."""
    return tuple(replace(n, type=classify_line(n.text)) if n.type is FieldType.TEXT else n for n in lines)


def build_result(
    task: Task,
    pages: Sequence[Page],
    reading: Reading,
    evidence: Reading | None = None,
    codes: tuple[Code, ...] = (),
    *,
    id: str,
    backend: str,
    model: str,
) -> Result:
    """Return the complete Result except for its elapsed time. Raises SchemaNotSatisfied if the page does not fit the schema.

    A language model that extracts fields returns no lines. In that case lines, text and line confidences are those of the
    evidence reading, which the values are grounded on.
    """
    sizes = tuple((p.width, p.height) for p in pages)
    source = evidence if evidence is not None and not reading.lines else reading
    e_invoice = next((page.declared for page in pages if page.declared), {})
    declared = (Declared("electronic invoice inside the file", e_invoice),)
    resolved = resolve_documents(task, reading, source.lines, sizes, declared, codes=codes)
    fields, documents = resolved.fields, resolved.documents
    return Result(
        id=id,
        task=task.kind,
        text=resolved.text or reading.text or source.text,
        lines=classify_lines(resolved.lines),
        fields=fields,
        markdown=reading.markdown,
        page_sizes=sizes,
        backend=backend,
        model=model,
        elapsed_ms=0.0,
        answer=None if task.schema is None else coerce(task.schema, fields),
        notices=(
            *(n for p in pages for n in p.notices),
            *reading.notices,
            *_nothing_found(resolved.lines or codes, reading),
            *several_documents_warnings(documents),
            *unknown_field_warnings(fields),
        ),
        truncated=reading.finish_reason != "stop",
        usage=reading.usage,
        codes=codes,
        documents=documents,
    )


def _nothing_found(found: Sequence[Line | Code], reading: Reading) -> tuple[ResultWarning, ...]:
    """Return a warning if no text was found; a language model's values are text without lines."""
    if found or reading.text.strip() or any(value not in (None, "", []) for value in (reading.values or {}).values()):
        return ()
    return (ResultWarning("nothing_found", "No text was found on the picture."),)
