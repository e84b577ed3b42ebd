"""What several routes tell the API's reference."""

from __future__ import annotations

from typing import Any

from api.schemas.ocr import OcrRequest

ERROR_RESPONSES = {
    400: "No picture, a damaged one, broken base64, two files, a PDF with a password.",
    413: "Too many bytes, pixels or pages.",
    415: "Neither picture nor PDF, or a content type that is not read here.",
    422: "A value that cannot be used, a task that this reader cannot do, a page that does not fit the schema.",
    429: "Too many requests wait; come back after `Retry-After` seconds.",
    500: "The reader broke on this picture.",
    503: "The reader is loading or given a rest; come back after `Retry-After` seconds.",
    504: "The answer was not ready in time; the work was cancelled.",
}


def openapi_request_body(beside_picture: type[OcrRequest]) -> dict[str, Any]:
    """OpenAPI's description of a request with one picture and what may stand beside it."""
    beside = beside_picture.model_json_schema(by_alias=True)["properties"]
    picture = {"type": "string", "format": "binary", "description": "JPEG, PNG, BMP, GIF, WebP, TIFF, HEIC or PDF."}
    text = {"type": "string", "description": "Raw base64 or a data URI. Alias: `file`."}
    form = {"type": "object", "required": ["file"], "properties": {"file": picture} | beside}
    form["properties"]["schema"] = {"type": "string", "description": "A JSON Schema, as JSON text."}
    form["properties"]["fields"] = {"type": "string", "description": "Names between commas, or a JSON list."}
    example = {"image": "data:image/jpeg;base64,/9j/4AAQ…", "instruction": "提取总金额和日期"}
    json_body = {"type": "object", "required": ["image"], "properties": {"image": text} | beside}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": json_body, "example": example}},
    }
