"""Convert a Result to JSON for records and jobs, and back. `api.schemas.ocr.OcrResponse.of` converts it to the response."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from hunyuanocr.store.text import clean_text
from hunyuanocr.types import Result


@cache
def _adapter() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


def encode_result(result: Result) -> dict[str, Any]:
    """Return the whole Result as plain JSON values that every database accepts (see `sanitize_json`)."""
    encoded: dict[str, Any] = sanitize_json(_adapter().dump_python(result))
    return encoded


def decode_result(encoded: dict[str, Any]) -> Result:
    """Return the Result. Keys of newer versions are ignored; defaults replace keys that older versions did not have."""
    return _adapter().validate_python(encoded)


def sanitize_json(value: Any) -> Any:
    """Return plain JSON: NUL (refused by PostgreSQL) and unpaired surrogates become U+FFFD, NaN and infinity become null."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {sanitize_json(key): sanitize_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [sanitize_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
