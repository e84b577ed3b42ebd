"""Size limits of requests."""

from __future__ import annotations

from hunyuanocr.config import Settings

MAX_FIELDS_BYTES = 1024 * 1024  # everything but the image: instruction, schema, multipart headers
_PART_HEADER_BYTES = 400  # multipart boundary and headers of each file


def max_request_bytes(settings: Settings) -> int:
    """Return the maximum size of a batch request, in bytes."""
    return int(settings.jobs.batch_mb * 1e6) + settings.jobs.batch_files * _PART_HEADER_BYTES + MAX_FIELDS_BYTES
