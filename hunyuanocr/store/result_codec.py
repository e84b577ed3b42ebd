"""A Result as JSON, and back: what records and jobs keep. `api.schemas.ocr.OcrResponse.of(unpack(…))` is the wire format
again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from hunyuanocr.types import Result


@cache
def _adapter() -> TypeAdapter[Result]:
    return TypeAdapter(Result)


def encode_result(result: Result) -> dict[str, Any]:
    """The whole Result in plain JSON values that every database takes (see `sanitize_json`)."""
    packed: dict[str, Any] = sanitize_json(_adapter().dump_python(result))
    return packed


def decode_result(packed: dict[str, Any]) -> Result:
    """The Result again. Keys of newer versions are ignored, and defaults fill what older ones did not have."""
    return _adapter().validate_python(packed)


def sanitize_json(value: Any) -> Any:
    """Plain JSON. PostgreSQL takes no NUL in text, and nobody half a surrogate pair: both become U+FFFD; NaN becomes null."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {sanitize_json(key): sanitize_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [sanitize_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
