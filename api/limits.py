"""How large requests may be."""

from __future__ import annotations

from api.request_body import MAX_FIELDS_BYTES
from hunyuanocr.config import Settings

_HEADER = 400  # bytes of multipart around each file


def max_request_bytes(settings: Settings) -> int:
    """Of the whole request."""
    return int(settings.jobs.batch_mb * 1e6) + settings.jobs.batch_files * _HEADER + MAX_FIELDS_BYTES
