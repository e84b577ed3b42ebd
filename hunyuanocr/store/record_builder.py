"""Convert a Result and its origin to an Entry of the store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

from hunyuanocr.store.records import Entry, FieldValue, Record
from hunyuanocr.store.result_codec import encode_result, sanitize_json
from hunyuanocr.types import Field, Result

Source = Literal["ocr", "chat", "job", "page", "watch", "ws"]
_MAX_KEY_LENGTH = 200


def build_entry(
    result: Result,
    *,
    owner: str,
    created_at: datetime,
    source: Source,
    instruction: str = "",
    device: str | None = None,
    image: str | None = None,
) -> Entry:
    """Return everything that is stored of one result; `image`: SHA-256 of a stored image."""
    packed = encode_result(result)
    scores = [line.confidence for line in result.lines if line.confidence is not None]
    record = Record(
        id=result.id,
        owner=owner,
        created_at=created_at,
        source=source,
        task=result.task.value,
        instruction=sanitize_json(instruction),
        backend=result.backend,
        model=result.model,
        pages=len(result.page_sizes),
        text=packed["text"],
        fields=sanitize_json(printed_fields(result)),
        warnings=packed["notices"],
        device=sanitize_json(device) if device else None,
        confidence=round(sum(scores) / len(scores), 4) if scores else None,
        confidence_min=round(min(scores), 4) if scores else None,
        image=image,
    )
    return Entry(record, packed, tuple(v for f in result.fields for v in _values(f, f.key[:_MAX_KEY_LENGTH], "")))


def printed_fields(result: Result) -> dict[str, Any]:
    """Return the fields as printed, under the keys of the response."""
    return {f.key: f.value if f.rows is None else [{k: v.value for k, v in row.items()} for row in f.rows] for f in result.fields}


def _values(field: Field, key: str, above: str) -> Iterator[FieldValue]:
    name = f"{above}{field.key[:_MAX_KEY_LENGTH]}"
    if field.value is not None:
        yield FieldValue(sanitize_json(key), sanitize_json(name), sanitize_json(field.value), _normalized(field.normalized))
    for row in field.rows or ():
        for cell in row.values():
            yield from _values(cell, key, f"{name}.")


def _normalized(value: Any) -> str | None:
    """Return a normalised value as text that a person may search for: the amount, the date; JSON for other values."""
    if isinstance(value, Mapping):
        value = value.get("amount", value)
    if value is None:
        return None
    return str(sanitize_json(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
