"""What clients write as JSON, where no library reads it for us."""

from __future__ import annotations

import json
from typing import Any

from hunyuanocr.errors import BadRequest


def json_object(text: str | bytes, what: str, hint: str) -> dict[str, Any]:
    """The object that the text holds; NaN and Infinity are no JSON. Raises BadRequest, calling the text `what`."""
    try:
        values = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        raise BadRequest(f"The {what} is not JSON.", hint=hint) from e
    if not isinstance(values, dict):
        raise BadRequest(f"The {what} is JSON, but not an object.", hint=hint)
    return values


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
