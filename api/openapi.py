"""OpenAPI parts that several routes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi.routing import APIRoute

    from api.schemas.ocr import OcrRequest

ERROR_RESPONSES = {
    400: "Image missing or damaged, invalid base64, more than one file, or a PDF with a password.",
    413: "Too many bytes, pixels or pages.",
    415: "File type or content type not supported.",
    422: "Invalid parameter, task not supported by the backend, or the page does not match the schema.",
    429: "Queue full or rate limit exceeded. Retry after `Retry-After` seconds.",
    500: "The backend failed on this image.",
    503: "The backend is loading or temporarily disabled after errors. Retry after `Retry-After` seconds.",
    504: "Deadline exceeded. The work was cancelled.",
}
TAGS = [
    {"name": "ocr", "description": "Recognise one image or document and wait for the result."},
    {"name": "jobs", "description": "Recognise images and documents in the background, one by one or in batches."},
    {"name": "openai", "description": "OpenAI-compatible chat completions."},
    {"name": "records", "description": "Search, export and delete stored results."},
    {"name": "status", "description": "Health, version, models and metrics."},
    {"name": "cameras", "description": "Camera frames over a WebSocket."},
    {"name": "admin", "description": "API keys, audit log and model management."},
]


def operation_id(route: APIRoute) -> str:
    """Return the name of the route's function, which is unique and makes a readable method name in generated clients."""
    return route.name


def openapi_request_body(form: type[OcrRequest]) -> dict[str, Any]:
    """Return the OpenAPI request body for one image and the parameters of `form`, as multipart and as JSON."""
    parameters = form.model_json_schema(by_alias=True)["properties"]
    file = {"type": "string", "format": "binary", "description": "JPEG, PNG, BMP, GIF, WebP, TIFF, HEIC, AVIF or PDF."}
    image = {"type": "string", "description": "Raw base64 or a data URI. Alias: `file`."}
    multipart = {"type": "object", "required": ["file"], "properties": {"file": file} | parameters}
    multipart["properties"]["schema"] = {"type": "string", "description": "JSON Schema, as JSON text."}
    multipart["properties"]["fields"] = {"type": "string", "description": "Field names, separated by commas or as a JSON list."}
    example = {"image": "data:image/jpeg;base64,/9j/4AAQ…", "instruction": "提取总金额和日期"}
    json_body = {"type": "object", "required": ["image"], "properties": {"image": image} | parameters}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": multipart}, "application/json": {"schema": json_body, "example": example}},
    }
