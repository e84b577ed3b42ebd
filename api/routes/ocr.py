"""`POST /v1/ocr`, and `/ocr`, which programs in shops have used for years."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.deps import TheOwner, ThePipeline, TheServices, TheSettings, while_connected
from api.params import OcrRequest, device_of
from api.reading import read_upload
from api.schemas import ErrorAnswer, OcrAnswer, fields_of
from hunyuanocr.errors import InvalidValue
from hunyuanocr.instructions import understand
from hunyuanocr.pipeline import Request as Reading
from hunyuanocr.types import Task

_FAILURES = {
    400: "No picture, a damaged one, broken base64, two files, a PDF with a password.",
    413: "Too many bytes, pixels or pages.",
    415: "Neither picture nor PDF, or a content type that is not read here.",
    422: "A value that cannot be used, a task that this reader cannot do, a page that does not fit the schema.",
    429: "Too many requests wait; come back after `Retry-After` seconds.",
    500: "The reader broke on this picture.",
    503: "The reader is loading or given a rest; come back after `Retry-After` seconds.",
    504: "The answer was not ready in time; the work was cancelled.",
}


def _bodies() -> dict[str, Any]:
    beside = OcrRequest.model_json_schema(by_alias=True)["properties"]
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


router = APIRouter(tags=["ocr"])


@router.post(
    "/v1/ocr", response_model=OcrAnswer, openapi_extra={"requestBody": _bodies()}, summary="Read one picture or document",
    responses={status: {"model": ErrorAnswer, "description": words} for status, words in _FAILURES.items()},
)  # fmt: skip
async def ocr(
    request: Request, pipeline: ThePipeline, services: TheServices, settings: TheSettings, owner: TheOwner
) -> Response:
    """Send a picture and say what is wanted; get text, fields with the place each stands at, and lines with boxes.

    Multipart with `file` (or `image`, `image_file`), or JSON with base64 in `image` (or `file`).
    `response=fields` answers the fields object alone.
    """
    upload = await read_upload(request, settings.images.max_bytes)
    wanted = upload.wanted
    if wanted.stream:
        raise InvalidValue("'stream' is not served by this route yet.", hint="Leave 'stream' out; the answer comes whole.")
    reading = Reading(upload.data, await _task(wanted), owner=owner)
    result = await while_connected(request, pipeline.run(reading))
    result = await services.recorder.record(
        result, owner=owner, source="ocr", instruction=wanted.instruction or "", device=device_of(request, wanted),
        image=upload.data,
    )  # fmt: skip
    if wanted.response == "fields":
        return JSONResponse(fields_of(result))
    return Response(OcrAnswer.of(result).model_dump_json(), media_type="application/json")


async def _task(wanted: OcrRequest) -> Task:
    """In a thread: a long sentence or schema takes milliseconds that other requests should not wait for."""
    return await asyncio.to_thread(
        understand, wanted.instruction or "", task=wanted.task, fields=wanted.fields, schema=wanted.json_schema,
        language=wanted.language, evidence=wanted.evidence,
    )  # fmt: skip


router.add_api_route("/ocr", ocr, methods=["POST"], include_in_schema=False)
