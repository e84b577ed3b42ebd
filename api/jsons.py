"""What clients write as JSON, where no library reads it for us."""

from __future__ import annotations

from typing import Any

from api.json_limits import parse_json
from hunyuanocr.errors import BadRequest


def json_object(text: str | bytes, what: str, hint: str) -> dict[str, Any]:
    """Return the object that the text holds. Raises BadRequest, calling the text `what`, also for what exceeds the bounds."""
    try:
        values = parse_json(text.encode() if isinstance(text, str) else text)
    except (ValueError, RecursionError) as e:
        raise BadRequest(f"The {what} is not JSON.", hint=hint) from e
    if not isinstance(values, dict):
        raise BadRequest(f"The {what} is JSON, but not an object.", hint=hint)
    return values
