"""Request size limits that depend on the settings."""

from __future__ import annotations

from api.request_body import MAX_FIELDS_BYTES
from hunyuanocr.config import Settings

_MULTIPART_HEADER_BYTES = 400  # overhead of multipart for each file


def max_request_bytes(settings: Settings) -> int:
    """Return the maximum size of a batch request, in bytes."""
    return int(settings.jobs.batch_mb * 1e6) + settings.jobs.batch_files * _MULTIPART_HEADER_BYTES + MAX_FIELDS_BYTES
