"""Fields by document: extracted from its own lines, or a language model's values grounded on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hunyuanocr.errors import SchemaNotSatisfied
from hunyuanocr.fields import extract_fields, ground_values
from hunyuanocr.fields.declared import Declared, check_declared
from hunyuanocr.fields.documents import DocumentPart, split_documents
from hunyuanocr.fields.layout import Layout
from hunyuanocr.fields.schema.client_schema import coerce
from hunyuanocr.fields.unknown import mark_unknown
from hunyuanocr.images.payloads import declared_by_codes
from hunyuanocr.pipeline.rotation import Size, to_original, to_original_box, to_upright
from hunyuanocr.types import Code, Document, Field, Line, Quad, Reading, ResultWarning, Task, TaskKind

_CODE = "QR code"  # as the source of a declared value
_AROUND = 0.25  # of the height of a document's text: codes stand above or below it
_TASKS = (TaskKind.READ, TaskKind.SPOT, TaskKind.EXTRACT)  # whose results are those of a paper


@dataclass(frozen=True)
class Resolved:
    """The fields of the first document and, if there are several, all of them; lines and text in the order of the documents.

    `text` is None where the reading's own text has this order.
    """

    fields: tuple[Field, ...]
    lines: tuple[Line, ...]
    documents: tuple[Document, ...] = ()
    text: str | None = None


def resolve_documents(
    task: Task,
    reading: Reading,
    lines: Sequence[Line],
    sizes: Sequence[Size],
    declared: Sequence[Declared] = (),
    *,
    codes: Sequence[Code] = (),
) -> Resolved:
    """Return the requested fields of each document on the pages.

    Cross-checks: `declared` (the values of an embedded e-invoice) of the first document, and `codes` of the document they are on.
    """
    upright, upright_sizes, turns = to_upright(lines, sizes)
    parts = split_documents(upright, len(sizes), task.pages) if task.kind in _TASKS else []
    if len(parts) < 2:
        checks = (*declared, Declared(_CODE, declared_by_codes(codes)))
        fields = to_original(_fields(task, reading, upright, checks), upright_sizes, turns)
        return Resolved(fields, tuple(lines))
    documents = []
    for number, part in enumerate(parts):
        own = [upright[n] for n in part.lines]
        box = None if part.box is None else to_original_box(part.box, part.pages[0], upright_sizes, turns)
        printed = [code for code in codes if code.page in part.pages and (not part.is_piece or _is_inside(code.box, box))]
        checks = (*(declared if number == 0 else ()), Declared(_CODE, declared_by_codes(printed)))
        found = _fields(task, _own_values(reading, part), own, checks)
        fields = tuple(_of_document(f, number) for f in to_original(found, upright_sizes, turns))
        documents.append(Document(part.pages[0], box, fields, _answer(task, fields, first=number == 0)))
    divided = len({part.pages for part in parts}) < len(parts)
    ordered = tuple(lines[n] for part in parts for n in part.lines) if divided else tuple(lines)
    text = "\n".join(_text([upright[n] for n in part.lines]) for part in parts) if divided else None
    return Resolved(documents[0].fields, ordered, tuple(documents), text)


def _is_inside(code: Quad, region: Quad | None) -> bool:
    """Return whether the centre of a code is within the region of a document, or a little above or below it."""
    if region is None:
        return False
    xs, ys = [x for x, _ in region], [y for _, y in region]
    x, y = sum(p[0] for p in code) / 4, sum(p[1] for p in code) / 4
    return min(xs) <= x <= max(xs) and min(ys) - _AROUND * (max(ys) - min(ys)) <= y <= max(ys) + _AROUND * (max(ys) - min(ys))


def _fields(task: Task, reading: Reading, lines: Sequence[Line], declared: Sequence[Declared]) -> tuple[Field, ...]:
    """Return one Field for each requested one, from the lines of one document."""
    if not task.fields:
        return ()
    if reading.values is None:
        fields = extract_fields(lines, task.fields, ())
    else:
        fields = ground_values(reading.values, task.fields, lines, reading.confidences)
    for source in declared:
        fields = check_declared(fields, task.fields, lines, source)
    return mark_unknown(fields, task.fields, lines, only_misspelt=reading.values is not None)


def _own_values(reading: Reading, part: DocumentPart) -> Reading:
    """Return the reading with the values that a language model read on the pages of the document.

    Its values of a page with several papers are mixed, so those of the rules replace them.
    """
    own = [values for values in reading.page_values if values.page in part.pages]
    if reading.values is None or len(own) != 1 or part.is_piece:
        return replace(reading, values=None, confidences={})
    return replace(reading, values=own[0].values, confidences=own[0].confidences)


def _of_document(field: Field, number: int) -> Field:
    rows = field.rows and tuple({k: replace(v, document=number) for k, v in row.items()} for row in field.rows)
    return replace(field, document=number, rows=rows)


def _answer(task: Task, fields: Sequence[Field], *, first: bool) -> Mapping[str, Any] | None:
    """Return the fields object by the client's schema; None without one, or if a further document does not fit it."""
    if task.schema is None:
        return None
    try:
        return coerce(task.schema, fields)
    except SchemaNotSatisfied:
        if first:
            raise
        return None


def _text(lines: Sequence[Line]) -> str:
    return "\n".join(" ".join(cell.text for cell in row) for row in Layout(lines).rows)


def several_documents_warnings(documents: Sequence[Document]) -> tuple[ResultWarning, ...]:
    """Return a warning if there are several documents."""
    if len(documents) < 2:
        return ()
    message = f"There are {len(documents)} documents. The fields are those of the first; 'documents' has those of each."
    return (ResultWarning("several_documents", message),)
